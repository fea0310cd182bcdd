import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from tiny_trial import pictures

from raysys.errors import LeaseError
from raysys.oracle import Response
from raysys.teacher.local_link import LinkServer, LocalLink
from raysys.teacher.service import Reply, Request


def put(request: Request) -> Future[Reply]:
    """Tells the first pixels; of the account `ended` nothing."""
    reply: Future[Reply] = Future()
    if request.uid == "ended":
        reply.set_result(LeaseError("no more", "why", "hint"))
    else:
        reply.set_result(Response(request.images[:, 0, 0, 0].astype(np.int64) + request.sequence))
    return reply


@pytest.fixture
def server() -> Iterator[LinkServer]:
    server = LinkServer(put)
    yield server
    server.close()


def test_many_callers_get_their_own_answers_and_errors(server: LinkServer) -> None:
    def ask(caller: int) -> None:
        link = LocalLink(server.address)
        for sequence in range(20):
            images = pictures(1 + caller * 30, seed=sequence)
            reply = link.ask("a", 0, sequence, images)
            assert isinstance(reply, Response)
            assert reply.labels.tolist() == (images[:, 0, 0, 0].astype(int) + sequence).tolist()
        refused = link.ask("ended", 0, 0, pictures(1))
        assert isinstance(refused, LeaseError)
        assert str(refused) == "no more\n  why\n  hint"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))


def test_one_link_may_be_shared_by_threads(server: LinkServer) -> None:
    link = LocalLink(server.address)
    images = pictures(5)

    def ask(sequence: int) -> None:
        reply = link.ask("a", 0, sequence, images)
        assert isinstance(reply, Response)
        assert reply.labels[0] == int(images[0, 0, 0, 0]) + sequence

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(100)))


def test_another_user_is_not_listened_to(server: LinkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    link = LocalLink(server.address)
    link.ask("a", 0, 0, pictures(1))  # the server, in this process, knows it now
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="another user"):
        LocalLink(server.address)
    monkeypatch.undo()
    assert isinstance(link.ask("a", 0, 1, pictures(1)), Response), "others are served as before"


def test_nobody_listens_any_more(server: LinkServer) -> None:
    link = LocalLink(server.address)
    assert isinstance(link.ask("a", 0, 0, pictures(1)), Response)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        LocalLink(server.address)
    assert isinstance(link.ask("a", 0, 1, pictures(1)), Response), "who is connected stays so"


def test_a_server_that_went_away_is_an_error_of_the_connection() -> None:
    """As for a teacher that was killed: nothing of it is left."""
    code = """
import sys
from raysys.teacher.local_link import LinkServer
print(repr(LinkServer(None).address), flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        address = ast.literal_eval(process.stdout.readline().decode())
        link = LocalLink(address)
        process.kill()
    with pytest.raises((OSError, EOFError)):
        link.ask("a", 0, 0, pictures(1))
    with pytest.raises(ConnectionRefusedError):
        LocalLink(address)
