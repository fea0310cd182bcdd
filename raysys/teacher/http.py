"""A teacher behind a server of the Open Inference Protocol v2 (KServe, Triton, MLServer, raysys itself)."""

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

import httpx
import numpy as np
from pydantic import ValidationError

from raysys.errors import UnreachableError, UsageError
from raysys.oracle import Images, Response
from raysys.records import Task
from raysys.space.schema import HttpSpec
from raysys.teacher.backend import Meter
from raysys.teacher.http_link import ROOM, Failure, HttpLink, Reply, check_key, is_loopback
from raysys.teacher.http_model import Fit
from raysys.teacher.infer_v2 import (
    BINARY_EXTENSION,
    LENGTH_HEADER,
    ModelMetadata,
    NotJsonError,
    ServerMetadata,
    WireError,
    decode_response,
    encode_request,
)

BYTES_PER_NUMBER = 64
"""JSON's room for one number: twice what a score of 17 digits on a line of its own takes."""


@dataclass(frozen=True)
class HttpSource:
    """Where an HTTP teacher is and how it is asked: small enough to send to another process.

    `spec.model` is set. `mean` and `std`, one number a channel, normalise the pixels of float inputs.
    `run_id` begins the id of every request (`run_id/17`), so that a server can count what a run asked.
    `expected` is the hash of the teacher that the run began with, if it has begun: no other one is asked.
    Raises UsageError where the URL or the key cannot be used.
    """

    spec: HttpSpec
    task: Task
    response: str
    run_id: str
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    api_key: str | None = field(default=None, repr=False)
    expected: str | None = None

    def __post_init__(self) -> None:
        variable = self.spec.api_key_env
        try:
            url = httpx.URL(self.spec.url)
        except httpx.InvalidURL as error:
            raise UsageError("teacher.http.url is no URL", str(error)) from None
        if self.api_key is None:
            return
        check_key(self.api_key, f"${variable}")
        if url.scheme == "http" and not is_loopback(url.host):
            raise UsageError(
                f"the key in ${variable} would travel in clear to {self.spec.url}",
                "the URL is http://, and not on this machine",
                f"use https://, or unset {variable} if the server needs no key",
            )

    @classmethod
    def from_spec(
        cls,
        spec: HttpSpec,
        task: Task,
        response: str,
        run_id: str,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> "HttpSource":
        """The source with the key that this process has in its environment, if any."""
        key = os.environ.get(spec.api_key_env, "").strip() or None
        return cls(spec, task, response, run_id, mean, std, key)

    def backend(self, device: str) -> "HttpTeacher":
        """Connect and check the model; `device` is the server's own affair. Raises as `HttpTeacher` does."""
        return HttpTeacher(self)

    def sha256(self) -> str:
        """`HttpTeacher.sha256` of the model as the server has it now."""
        teacher = HttpTeacher(replace(self, expected=None))
        teacher.close()
        return teacher.sha256


class Pacer:
    """At most `rate` images a second on average, whichever threads send them."""

    def __init__(self, rate: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = clock()

    def wait(self, images: int) -> None:
        """Return when `images` may be sent: when those before them have had their time."""
        with self._lock:
            now = self._clock()
            start = max(now, self._next)
            self._next = start + images / self._rate
        if start > now:
            self._sleep(start - now)


class HttpTeacher:
    """A `Backend` that asks a server: connected, and checked against the task, once it exists.

    `url` is the model's; `sha256` the hash of its metadata (name, versions, platform, tensors); `binary`
    says whether tensors travel as bytes. After a loss (all failures but 429) the server may be another one:
    before more images are sent, it must show the same metadata. `clock` and `sleep` are the time module's
    but in tests.

    Raises UnreachableError (no server, no such model, another one than expected, refused) and UsageError
    (the model does not fit).
    """

    def __init__(
        self,
        source: HttpSource,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        spec = source.spec
        self._run_id = source.run_id
        self._numbers = itertools.count()
        self._pacer = Pacer(spec.queries_per_second, clock, sleep) if spec.queries_per_second else None
        self._root = spec.url.rstrip("/") + "/v2"
        self.url = f"{self._root}/models/{quote(str(spec.model), safe='')}"
        self._link = HttpLink(spec, source.api_key, clock, sleep)
        try:
            self.binary = BINARY_EXTENSION in self._link.retrying(self._server, self._root).extensions
            model = self._link.retrying(self._model, self.url)
            self.sha256 = source.expected or _sha256(model)
            self._check_same(model)
            self._fit = Fit.of(model, source.task, source.response, spec, source.mean, source.std)
        except BaseException:
            self.close()
            raise
        self._loss = self._seen = object()  # the last loss of any lane, and that after which it was the same
        self.lanes = spec.concurrency
        self.max_rows = 1 if self._fit.single else spec.max_rows

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def predict(self, images: Images, meter: Meter) -> Response:
        """See `Backend.predict`: requests of at most `max_rows` images, one after the other."""
        starts = range(0, len(images), self.max_rows)
        parts = [self._part(images[start : start + self.max_rows], start, meter) for start in starts]
        labels = np.concatenate([part.labels for part in parts])
        told = [part.probabilities for part in parts if part.probabilities is not None]
        return Response(labels, np.concatenate(told) if told else None)

    def _part(self, images: Images, start: int, meter: Meter) -> Response:
        stop = start + len(images)
        url = f"{self.url}/infer"
        name = f"{self._run_id}/{next(self._numbers)}"
        inputs = {self._fit.input.name: self._fit.tensor(images)}
        limit = ROOM + BYTES_PER_NUMBER * len(images) * self._fit.num_classes
        message = encode_request(name, inputs, [self._fit.output.name], self.binary)

        def attempt() -> Response:
            self._look_after_loss()
            if self._pacer:
                self._pacer.wait(len(images))
            meter.sent(start, stop)
            try:
                return self._read(self._link.request("POST", url, message, limit), len(images))
            except Failure as failure:
                if failure.status != 429:
                    self._loss = object()
                if not failure.served:
                    meter.unsent(start, stop)
                raise

        return self._link.retrying(attempt, url, "; raysys tune --resume RUN then goes on without a loss")

    def _read(self, reply: Reply, rows: int) -> Response:
        try:
            outputs = decode_response(reply.content, reply.headers.get(LENGTH_HEADER))
            return self._fit.response(outputs, rows)
        except NotJsonError as error:
            raise Failure(f"{error}: {self._link.said(reply)}", again=True) from None
        except WireError as error:  # asked again it would cost again, and fail again
            hint = "its images were sent and are not charged; have the server mended"
            raise Failure(str(error), "gave an answer that is none", hint) from None

    def _look_after_loss(self) -> None:
        loss = self._loss
        if loss is not self._seen:
            self._check_same(self._model())
            self._seen = loss  # a loss on another lane in the meantime is not this one

    def _check_same(self, model: ModelMetadata) -> None:
        found = _sha256(model)
        if found != self.sha256:
            raise UnreachableError(
                f"the model at {self.url} changed since the run began",
                f"its metadata had the hash {self.sha256[:12]}, and has {found[:12]}: answers of two teachers"
                " would be mixed",
                "serve the first one again, then raysys tune --resume RUN; or start a new run",
            )

    def _server(self) -> ServerMetadata:
        """What the server says of itself; one that says nothing has no extensions."""
        try:
            return ServerMetadata.model_validate_json(self._link.request("GET", self._root).content)
        except ValidationError:
            return ServerMetadata()
        except Failure as failure:
            if failure.status in (400, 404, 405, 501):
                return ServerMetadata()
            raise

    def _model(self) -> ModelMetadata:
        reply = self._link.request("GET", self.url)
        try:
            return ModelMetadata.model_validate_json(reply.content)
        except ValidationError as error:
            again = error.errors()[0]["type"] == "json_invalid"
            why = f"no metadata of a model: {self._link.said(reply)}"
            raise Failure(why, "is no server of the Open Inference Protocol", again=again) from None


def _sha256(model: ModelMetadata) -> str:
    return hashlib.sha256(model.model_dump_json().encode()).hexdigest()
