"""A teacher behind HTTP, as a black box that one can run beside an exploration.

It speaks the Open Inference Protocol v2 (kserve.github.io) with the binary tensor data extension, and tells
at /metrics how many images of each run reached the teacher: what the run's own ledger can be held against.
"""

import asyncio
import hmac
import ipaddress
import logging
import math
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType

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
from raysys.errors import RaysysError, UsageError
from raysys.records import Task
from raysys.teacher.counter_file import QueryCounter
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

MAX_RUN = 300
"""The longest name of a run, in characters: more than a folder's name (255 bytes) and a suffix have."""
BYTES_PER_PIXEL = 6
"""JSON's room for one number up to 255, a comma and white space."""
HEADER_BYTES = 1 << 16
"""Room for all of a request that is not pixels."""
KEEP_ALIVE_S = 60
"""Longer than clients keep idle connections, so that they never write into one that is being closed."""
GRACE_S = 30
"""How long requests that are under way may take once the server was told to stop."""


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
        version: str,
    ) -> None:
        self._name = name
        self._version = version
        self._shape = task.image_shape
        self._predict = predict
        self._counter = counter
        self._max_rows = max_rows
        self._max_bytes = max_rows * math.prod(task.image_shape) * BYTES_PER_PIXEL + HEADER_BYTES
        self._outputs = [TensorMetadata(name=LABELS, datatype="INT64", shape=[-1])]
        if not labels_only:
            shape = [-1, task.num_classes]
            self._outputs.append(TensorMetadata(name=PROBABILITIES, datatype="FP32", shape=shape))
        self._executor = ThreadPoolExecutor(max_workers=1)

    def routes(self) -> list[Route]:
        inputs = [TensorMetadata(name=INPUT, datatype="UINT8", shape=[-1, *self._shape])]
        server = ServerMetadata(name="raysys", version=__version__, extensions=[BINARY_EXTENSION])
        model = ModelMetadata(
            name=self._name, versions=[self._version], platform="raysys", inputs=inputs, outputs=self._outputs
        )
        path = f"/v2/models/{self._name}"
        fixed = {
            "/v2": server.model_dump(),
            "/v2/health/live": {"live": True},
            "/v2/health/ready": {"ready": True},
            path: model.model_dump(),
            f"{path}/ready": {"name": self._name, "ready": True},
        }
        return [
            *(Route(at, JSONResponse(content), methods=["GET"]) for at, content in fixed.items()),
            Route(f"{path}/infer", self._infer, methods=["POST"]),
            Route("/metrics", self._metrics),
        ]

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(self._counter.metrics(), media_type="text/plain; version=0.0.4")

    async def _infer(self, request: Request) -> Response:
        body = await self._body(request)
        query = await run_in_threadpool(self._read, body, request.headers.get(LENGTH_HEADER))
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._executor, self._forward, query)
        message = await run_in_threadpool(self._write, query, answer)
        return Response(message.body, headers=message.headers)

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
                f"{INPUT!r} must be UINT8 {[-1, *self._shape]} with 1 image or more,"
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
        answer = _error(401, "the API key is missing or wrong: send Authorization: Bearer KEY")
        answer.headers["WWW-Authenticate"] = "Bearer"
        await answer(scope, receive, send)


def build_app(
    name: str,
    task: Task,
    predict: Callable[[oracle.Images], oracle.Response],
    counter: QueryCounter,
    *,
    max_rows: int,
    version: str = "1",
    labels_only: bool = False,
    api_key: str | None = None,
) -> Starlette:
    """The server of one model as an ASGI application.

    `predict` answers uint8 (n, *task.image_shape) with labels and probabilities; it is called from one
    thread. `version` says which weights these are, so that a client can tell when they changed. A request is
    counted for the part of its `id` before the first "/", for "" where there is none.
    """
    model = _Model(name, task, predict, counter, labels_only, max_rows, version)
    return Starlette(
        routes=model.routes(),
        middleware=[Middleware(_KeyCheck, key=api_key)] if api_key else [],
        exception_handlers={
            404: lambda *_: _error(404, f"nothing here: the one model is at /v2/models/{name}"),
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
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}",
            str(error.strerror),
            "choose another --port; 0 takes any free one",
        ) from None
    # Connections inherit it. Without, the body of an answer waits 40 ms for the header's acknowledgement:
    # asyncio sets it for sockets of its own making only.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


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
