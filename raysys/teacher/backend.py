"""What a teacher is to its door: images in, answers out, and every image counted before it is sent."""

from typing import Protocol

from raysys.oracle import Images, Response


class Meter(Protocol):
    """Counts what physically reaches the teacher, image by image, retries included. Thread-safe."""

    def sent(self, start: int, stop: int) -> None:
        """Rows [start, stop) of the images will be sent now; durable against a crash before it returns.

        Called before each attempt. Raises RaysysError when the images may not be sent (a cost cap, a full
        disk): the backend lets it pass.
        """
        ...

    def unsent(self, start: int, stop: int) -> None:
        """The last attempt with these rows surely never reached the teacher (connection refused, 429)."""
        ...


class Backend(Protocol):
    """A teacher that answers: a network in this process, replicas, or a server.

    `lanes` calls of `predict` may run at once, each in a thread of its own. `max_rows` images is the most
    worth joining for one call; a call with more is split inside.
    """

    @property
    def lanes(self) -> int:
        """Calls at once."""
        ...

    @property
    def max_rows(self) -> int:
        """Images of a joined call."""
        ...

    def predict(self, images: Images, meter: Meter) -> Response:
        """Answer uint8 (n, c, h, w): labels, and probabilities where the teacher tells them.

        Raises RaysysError when it cannot (UnreachableError after the retries).
        """
        ...

    def close(self) -> None:
        """Let go of connections; nothing is asked afterwards."""
        ...


class Source(Protocol):
    """Where a backend comes from: small enough to send to the machine that will hold it."""

    def backend(self, device: str) -> Backend:
        """Open it on `device` ("cpu" or "cuda"). Raises UsageError, UnreachableError."""
        ...

    def sha256(self) -> str:
        """The identity of the teacher as its card has it: a resumed run must find the same."""
        ...
