"""The short way to the teacher for processes on its machine: a socket beside Ray.

A call of Ray costs milliseconds of a core, a round trip here 0.1. The socket is abstract, a name without a
file (Linux only), and only processes of one user talk over it, so messages are pickled, as Ray's are. Nothing
depends on this way: whatever goes wrong with it, the caller asks the same request once more through Ray, and
the ledger sees to it that it is charged once.
"""

import os
import secrets
import socket
import struct
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Lock, Thread

from raysys.oracle import Images
from raysys.teacher.service import Reply, Request

BACKLOG = 128


class LinkServer:
    """Listens at `address`, which no other machine has, while it is open. Raises OSError when it cannot."""

    def __init__(self, put: Callable[[Request], Future[Reply]]) -> None:
        self._put = put
        self.address = f"\0raysys-{secrets.token_hex(16)}"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.address)
        self._socket.listen(BACKLOG)
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let nobody else in; who is connected stays so."""
        with suppress(OSError):  # closed already
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that listens
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                Thread(target=self._serve, args=(self._socket.accept()[0],), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with suppress(EOFError, OSError), _connection(caller) as connection:  # until the caller goes away
            while True:
                connection.send(self._put(Request(*connection.recv())).result())


class LocalLink:
    """A caller's connection to `address`; one request at a time. Raises OSError where nobody listens."""

    def __init__(self, address: str) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(address)
            self._connection = _connection(server)
        self._lock = Lock()

    def ask(self, uid: str, epoch: int, sequence: int, images: Images) -> Reply:
        """The reply. Raises OSError or EOFError when the teacher went away: it may have been asked."""
        with self._lock:
            try:
                self._connection.send((uid, epoch, sequence, images))
                return self._connection.recv()  # type: ignore[no-any-return]
            except BaseException:
                self._connection.close()  # interrupted: the next reply would be this request's
                raise


def _connection(other: socket.socket) -> Connection:
    """To a process of this user, in place of `other`. Raises PermissionError for another user's."""
    with other:
        _, uid, _ = struct.unpack("3i", other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid():
            raise PermissionError("a process of another user")
        return Connection(other.detach())
