"""A teacher behind HTTP, as a black box that one can run beside an exploration.

It speaks the Open Inference Protocol v2 (kserve.github.io) with the binary tensor data extension, and tells
at /metrics how many images each run had answered: an account that the run's own ledger can be held against.
"""

import asyncio
import fcntl
import hmac
import ipaddress
import json
import logging
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from raysys import __version__, oracle
from raysys.errors import RaysysError, StorageError, UsageError
from raysys.records import Task
from raysys.teacher.infer_v2 import (
    BINARY_EXTENSION,
    LENGTH_HEADER,
    Message,
    ModelMetadata,
    ServerMetadata,
    TensorMetadata,
    WireError,
    decode_request,
    encode_response,
)

log = logging.getLogger(__name__)

INPUT = "images"
LABELS = "labels"
PROBABILITIES = "probabilities"

MAX_ROWS = 4096
"""The most images of one request, unless it is said otherwise."""
MAX_RUN = 200
"""The longest name of a run, in characters."""
BYTES_PER_PIXEL = 6
"""JSON's room for one number up to 255, a comma and white space."""
HEADER_BYTES = 1 << 16
"""Room for all of a request that is not pixels."""
KEEP_ALIVE_S = 60
"""Longer than clients keep idle connections, so that they never write into one that is being closed."""
GRACE_S = 30
"""How long requests that are under way may take once the server was told to stop."""


class QueryCounter:
    """How many images and requests of each run reached the teacher, in a file that only grows.

    A line is JSON: `{"run", "images", "requests"}`. It is written before the images are answered and not
    synced: it survives the death of the process, not of the machine. Raises StorageError when the file
    cannot be written, is damaged, or belongs to another server.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._images: defaultdict[str, int] = defaultdict(int)
        self._requests: defaultdict[str, int] = defaultdict(int)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise StorageError(
                f"another server counts in {path}",
                "two servers of one teacher need a counter each",
                "stop the other one, or choose another file: --counter FILE",
            ) from None
        except OSError as error:
            raise self._cannot_write(error) from error
        self._replay()

    def add(self, run: str, images: int) -> None:
        """Count one request with `images` images. Raises StorageError; then nothing was counted."""
        event = {"run": run, "images": images, "requests": 1}
        line = json.dumps(event).encode() + b"\n"
        try:
            self._file.truncate(self._end)  # what a failed write left behind
            if self._file.write(line) != len(line):
                raise OSError("the disk is full")
        except OSError as error:
            raise self._cannot_write(error) from error
        self._end += len(line)
        self._count(event)

    def metrics(self) -> str:
        """The counts in Prometheus' text format 0.0.4."""
        with self._lock:
            images, requests = dict(self._images), dict(self._requests)
        lines = []
        for name, counts, what in (
            ("raysys_teacher_images_total", images, "Images that reached the teacher, by run."),
            ("raysys_teacher_requests_total", requests, "Inference requests with these images, by run."),
        ):
            lines += [f"# HELP {name} {what}", f"# TYPE {name} counter"]
            for run, count in sorted(counts.items()):
                label = run.replace("\\", r"\\").replace('"', r"\"")
                lines.append(f'{name}{{run="{label}"}} {count}')
        return "\n".join([*lines, ""])

    def close(self) -> None:
        """Let another server count in the file."""
        self._file.close()

    def _replay(self) -> None:
        self._end = 0
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # torn: its images were not answered
            try:
                self._count(json.loads(line))
            except (ValueError, TypeError, KeyError):
                self._file.close()
                raise StorageError(
                    f"the counter is damaged: {self._path}, byte {self._end}",
                    "a line is not what this server writes",
                    "delete the file to count from 0, or choose another one: --counter FILE",
                ) from None
            self._end += len(line)

    def _count(self, event: dict[str, Any]) -> None:
        run, images, requests = str(event["run"]), int(event["images"]), int(event["requests"])
        with self._lock:
            self._images[run] += images
            self._requests[run] += requests

    def _cannot_write(self, error: OSError) -> StorageError:
        return StorageError(
            f"cannot write the counter {self._path}",
            str(error.strerror or error),
            "free space, or choose another file: --counter FILE",
        )


@dataclass(frozen=True)
class _Query:
    """A checked request: `run` is whom it is counted for, `outputs` what is answered, `binary` as bytes."""

    id: str
    run: str
    images: oracle.Images
    outputs: list[str]
    binary: frozenset[str]


class _Model:
    """The HTTP endpoints. One forward at a time, in a thread of its own."""

    def __init__(
        self,
        name: str,
        task: Task,
        predict: Callable[[oracle.Images], oracle.Response],
        counter: QueryCounter,
        labels_only: bool,
        max_rows: int,
    ) -> None:
        self._name = name
        self._shape = task.image_shape
        self._predict = predict
        self._counter = counter
        self._max_rows = max_rows
        pixels = task.image_shape[0] * task.image_shape[1] * task.image_shape[2]
        self._max_bytes = max_rows * pixels * BYTES_PER_PIXEL + HEADER_BYTES
        self._inputs = [TensorMetadata(name=INPUT, datatype="UINT8", shape=[-1, *task.image_shape])]
        self._outputs = [TensorMetadata(name=LABELS, datatype="INT64", shape=[-1])]
        if not labels_only:
            shape = [-1, task.num_classes]
            self._outputs.append(TensorMetadata(name=PROBABILITIES, datatype="FP32", shape=shape))
        self._executor = ThreadPoolExecutor(max_workers=1)

    def routes(self) -> list[Route]:
        model = "/v2/models/{model}"
        return [
            Route("/v2", self._server),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
            Route(model, self._metadata),
            Route(f"{model}/ready", self._model_ready),
            Route(f"{model}/infer", self._infer, methods=["POST"]),
            Route("/metrics", self._metrics),
        ]

    async def _server(self, request: Request) -> Response:
        about = ServerMetadata(name="raysys", version=__version__, extensions=[BINARY_EXTENSION])
        return JSONResponse(about.model_dump())

    async def _live(self, request: Request) -> Response:
        return JSONResponse({"live": True})

    async def _ready(self, request: Request) -> Response:
        return JSONResponse({"ready": True})

    async def _metadata(self, request: Request) -> Response:
        self._check_name(request)
        about = ModelMetadata(
            name=self._name, versions=[], platform="raysys", inputs=self._inputs, outputs=self._outputs
        )
        return JSONResponse(about.model_dump())

    async def _model_ready(self, request: Request) -> Response:
        self._check_name(request)
        return JSONResponse({"name": self._name, "ready": True})

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(self._counter.metrics(), media_type="text/plain; version=0.0.4")

    async def _infer(self, request: Request) -> Response:
        self._check_name(request)
        body = await self._body(request)
        query = await run_in_threadpool(self._read, body, request.headers.get(LENGTH_HEADER))
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._executor, self._forward, query)
        message = await run_in_threadpool(self._write, query, answer)
        return Response(message.body, headers=message.headers)

    def _check_name(self, request: Request) -> None:
        name = request.path_params["model"]
        if name != self._name:
            raise HTTPException(404, f"no model {name!r} here: this server has {self._name!r}")

    async def _body(self, request: Request) -> bytes:
        """The whole body. One that is too large is refused before it is read, or as soon as it shows."""
        too_large = HTTPException(
            413, f"the body is over {self._max_bytes} bytes: send at most {self._max_rows} images a request"
        )
        if int(request.headers.get("content-length", 0)) > self._max_bytes:
            raise too_large
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self._max_bytes:
                raise too_large
        return bytes(body)

    def _read(self, body: bytes, json_length: str | None) -> _Query:
        request = decode_request(body, json_length)
        if list(request.inputs) != [INPUT]:
            raise WireError(f"the model has one input, {INPUT!r}; the request has {list(request.inputs)}")
        images = request.inputs[INPUT]
        if images.dtype != "uint8" or images.shape[1:] != self._shape or not len(images):
            raise WireError(
                f"{INPUT!r} must be UINT8 {self._inputs[0].shape} with 1 image or more,"
                f" not {images.dtype} {list(images.shape)}"
            )
        if len(images) > self._max_rows:
            raise HTTPException(413, f"{len(images)} images: send at most {self._max_rows} a request")
        known = [output.name for output in self._outputs]
        for name in request.outputs:
            if name not in known:
                raise WireError(f"the model has no output {name!r}, only {known}")
        run, slash, _ = request.id.partition("/")
        run = run if slash else ""  # other clients send ids of their own, a new one each time
        if len(run) > MAX_RUN or not run.isprintable():
            raise WireError(f"a run's name has at most {MAX_RUN} printable characters, not {run[:MAX_RUN]!r}")
        binary = frozenset(known) if request.binary_rest and not request.outputs else request.binary
        return _Query(request.id, run, images, request.outputs or known, binary)

    def _forward(self, query: _Query) -> oracle.Response:
        self._counter.add(query.run, len(query.images))
        try:
            return self._predict(query.images)
        except Exception:  # whatever a user's own program raises; the server goes on
            log.exception("the teacher failed")
            raise HTTPException(500, "the teacher failed; the server's log says why") from None

    def _write(self, query: _Query, answer: oracle.Response) -> Message:
        tensors = {LABELS: answer.labels, PROBABILITIES: answer.probabilities}
        outputs = {name: tensor for name in query.outputs if (tensor := tensors[name]) is not None}
        return encode_response(query.id, self._name, outputs, query.binary & outputs.keys())


class _KeyCheck:
    """Refuses every request without the API key, before anything of its body is read."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
            return
        answer = JSONResponse(
            {"error": "the API key is missing or wrong: send Authorization: Bearer KEY"},
            401,
            {"WWW-Authenticate": "Bearer"},
        )
        await answer(scope, receive, send)


def build_app(
    name: str,
    task: Task,
    predict: Callable[[oracle.Images], oracle.Response],
    counter: QueryCounter,
    *,
    labels_only: bool = False,
    max_rows: int = MAX_ROWS,
    api_key: str | None = None,
) -> Starlette:
    """The server of one model as an ASGI application.

    `predict` answers uint8 (n, *task.image_shape) with labels and probabilities; it is called from one
    thread. A request is counted for the part of its `id` before the first "/", for "" where there is none.
    """
    model = _Model(name, task, predict, counter, labels_only, max_rows)
    return Starlette(
        routes=model.routes(),
        middleware=[Middleware(_KeyCheck, key=api_key)] if api_key else [],
        exception_handlers={
            HTTPException: lambda _, error: _error(error.status_code, error.detail),
            ClientDisconnect: lambda _, error: _error(400, "the client left"),
            WireError: lambda _, error: _error(400, str(error)),
            RaysysError: _unavailable,
        },
    )


def listen(host: str, port: int, has_key: bool) -> socket.socket:
    """A socket that listens on `host`; port 0 takes any free one.

    Raises UsageError when others could reach it and no API key protects it, or when it cannot be opened.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"cannot listen on {host}", str(error.strerror), "try --host 127.0.0.1") from None
    if not has_key and not ipaddress.ip_address(address[0]).is_loopback:
        raise UsageError(
            f"refused to serve on {host} without an API key",
            "everyone who reaches this machine could ask the teacher",
            "give --api-key-file FILE or RAYSYS_API_KEY, or use --host 127.0.0.1",
        )
    try:
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}",
            str(error.strerror),
            "choose another --port; 0 takes any free one",
        ) from None


def url_of(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: Starlette, listener: socket.socket) -> None:
    """Answer until SIGINT or SIGTERM, then finish what is under way. For the main thread."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
    )

    # uvicorn raises a signal again once it has stopped: then this handler is back in place.
    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.run(sockets=[listener])


def _unavailable(request: Request, error: Exception) -> Response:
    """What the server's owner can mend: a full disk."""
    log.error("%s", error)
    return _error(503, str(error))


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)
