import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from edge_runs import trial, write_run

from raysys.cluster.evidence import gather
from raysys.store.layout import RunLayout
from raysys.teacher.journal import open_journal
from raysys.teacher.ledger import Ledger


class Counter:
    """A server that has a counter and remembers who asked for it with which key."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        keys = self.keys

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys.append(self.headers.get("Authorization"))
                text = (
                    b'# TYPE raysys_teacher_images_total counter\nraysys_teacher_images_total{run="r-1"} 7\n'
                )
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def counter() -> Iterator[Counter]:
    made = Counter()
    thread = Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def outside(folder: Path, url: str) -> RunLayout:
    """A run whose teacher is at `url`."""
    space = {
        "name": "digits",
        "dataset": "digits",
        "student": "mlp",
        "trials": 1,
        "teacher": {"http": {"url": url}},
        "parameters": {"g_steps": {"type": "int", "low": 1, "high": 3}},
    }
    return write_run(folder / "run", [trial(0)], id="r-1", space=space)


def test_a_server_on_this_machine_is_asked_for_its_counter(tmp_path: Path, counter: Counter) -> None:
    told: list[str] = []
    _, evidence = gather(outside(tmp_path, counter.url).root, None, told.append)
    assert evidence.counted is not None
    assert (evidence.counted.images, told) == (7, [])


def test_a_server_that_moved_is_asked_where_it_is_now(tmp_path: Path, counter: Counter) -> None:
    _, evidence = gather(outside(tmp_path, "https://gone.example").root, counter.url, print)
    assert evidence.counted is not None
    assert evidence.counted.images == 7


def test_no_key_goes_where_a_run_of_somebody_else_says(
    tmp_path: Path, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYSYS_API_KEY", "sesame")
    elsewhere = counter.url.replace("127.0.0.1", "localhost.localdomain")
    told: list[str] = []
    _, evidence = gather(outside(tmp_path / "a", elsewhere).root, None, told.append)
    assert evidence.counted is None
    assert told == [f"the server's own counter was not compared: --teacher-url {elsewhere} asks it"]
    _, evidence = gather(outside(tmp_path / "b", elsewhere).root, elsewhere, told.append)
    assert evidence.counted is None
    assert "would travel in clear" in told[-1]
    assert counter.keys == []


def test_a_trial_that_starts_meanwhile_is_no_stranger_and_a_lost_one_is(tmp_path: Path) -> None:
    layout = write_run(tmp_path / "run", [trial(0)])
    journal = open_journal(layout.ledger)
    journal.replay(Ledger())
    journal.append_open("u00009", 10, 0)
    journal.close()
    _, evidence = gather(layout.root, None, print)
    assert evidence.settled == {"u00009"}
    assert json.dumps(sorted(evidence.accounts)) == '["u00009"]'
