import contextlib
import copy
import gzip
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysys.errors import RaysysError, StorageError, UnreachableError, UsageError
from raysys.oracle import Images
from raysys.records import Task
from raysys.space.load import apply_overrides, load_space
from raysys.space.schema import HttpSpec
from raysys.teacher.http import HttpSource, HttpTeacher
from raysys.teacher.infer_v2 import LENGTH_HEADER, InferRequest, Tensor, decode_request, encode_response
from raysys.teacher.setup import TeacherSetup

TASK = Task("small", (3, 2, 4), 10, False)
KEY = "sk-0123456789abcdef"
Answer = tuple[int, dict[str, str], bytes | Iterator[bytes]]
Outputs = dict[str, Tensor]


def tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


IMAGE = tensor("image", "UINT8", -1, 3, 2, 4)
SCORES = tensor("scores", "FP32", -1, 10)
LABEL = tensor("label", "INT64", -1)


def pictures(n: int, task: Task = TASK) -> Images:
    """Noise whose first value is the class that the server answers."""
    images = np.random.default_rng(n).integers(0, 256, (n, *task.image_shape)).astype(np.uint8)
    images[:, 0, 0, 0] = np.arange(n) % 10
    return images


def classes(request: InferRequest) -> Tensor:
    (pixels,) = request.inputs.values()
    first = pixels.reshape(len(pixels), -1)[:, 0]
    return np.asarray((first * (255 if first.dtype.kind == "f" else 1)).round().astype(np.int64))


def scores(labels: Tensor, high: float = 0.91, low: float = 0.01) -> Tensor:
    return np.where(np.eye(10, dtype=bool)[labels], high, low).astype(np.float32)


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.server.gets.append(self.path)
        known = {"/v2": self.server.root, "/v2/models/small": self.server.model}
        self._send(self.server.pages.get(self.path) or reply(known.get(self.path)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.headers.append(dict(self.headers))
        self.server.asked.append(decode_request(body, self.headers.get(LENGTH_HEADER)))
        step = self.server.script.pop(0) if self.server.script else self.server.good
        answer = step(self.server.asked[-1]) if callable(step) else step
        if answer is not None:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        status, headers, body = answer
        self.send_response_only(status)  # no Date but where a test gives one
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client left
            for piece in [body] if isinstance(body, bytes) else body:
                self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server that answers well but for its `script`, one step a request to infer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.root: dict[str, Any] | None = {"name": "test", "extensions": ["binary_tensor_data"]}
        self.model: dict[str, Any] = {
            "name": "small",
            "versions": ["1"],
            "platform": "test",
            "inputs": [IMAGE],
            "outputs": [SCORES],
        }
        self.pages: dict[str, Answer] = {}
        self.script: list[Answer | Callable[[InferRequest], Answer | None]] = []
        self.gets: list[str] = []
        self.asked: list[InferRequest] = []
        self.headers: list[dict[str, str]] = []
        self.outputs: Callable[[Tensor], Outputs] = lambda labels: {"scores": scores(labels), "label": labels}

    def good(self, request: InferRequest) -> Answer:
        outputs = self.outputs(classes(request))
        chosen = {name: outputs[name] for name in request.outputs}
        body, headers = encode_response(request.id, "small", chosen, request.binary)
        return 200, headers, body

    @property
    def rows(self) -> int:
        return sum(len(pixels) for request in self.asked for pixels in request.inputs.values())


class Clock:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Counter:
    """A meter; `count` is the images that may have reached the teacher."""

    def __init__(self) -> None:
        self.count = 0
        self.ranges: list[tuple[int, int]] = []

    def sent(self, start: int, stop: int) -> None:
        self.ranges.append((start, stop))
        self.count += stop - start

    def unsent(self, start: int, stop: int) -> None:
        self.count -= stop - start


def reply(data: object, status: int = 200, **headers: str) -> Answer:
    if data is None:
        return 404, {}, b'{"error": "nothing here"}'
    return (
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        json.dumps(data).encode(),
    )


def outputs(**tensors: Tensor) -> Callable[[InferRequest], Answer]:
    """A step that answers with these outputs, whatever was asked."""
    return lambda request: (200, {}, encode_response(request.id, "small", tensors, ()).body)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Setup:
    """A teacher of a server, on a clock of its own."""

    def __init__(self, server: Server, response: str = "hard", task: Task = TASK, **options: Any) -> None:
        source = {
            name: options.pop(name) for name in ("mean", "std", "api_key", "expected") if name in options
        }
        spec = HttpSpec(**{"url": server.url, "model": "small"} | options)
        self.clock = Clock()
        self.meter = Counter()
        self.source = HttpSource(spec, task, response, "run-1a2b", **source)
        self.teacher = HttpTeacher(self.source, self.clock.time, self.clock.sleep)

    def __enter__(self) -> "Setup":
        return self

    def __exit__(self, *error: object) -> None:
        self.teacher.close()

    def labels(self, images: Images) -> list[int]:
        return list(self.teacher.predict(images, self.meter).labels)

    def refused(self, images: Images, why: str, error: type[RaysysError] = UnreachableError) -> str:
        with pytest.raises(error, match=why) as raised:
            self.teacher.predict(images, self.meter)
        return str(raised.value)


# What goes out and what comes back


@pytest.mark.parametrize("extensions", [[], ["binary_tensor_data"]])
@pytest.mark.parametrize("datatype", ["UINT8", "INT64", "FP16", "FP32", "FP64"])
@pytest.mark.parametrize("shape", [(-1, 3, 2, 4), (-1, 2, 4, 3), (-1, 24), (-1, -1, -1, -1), (-1, -1)])
def test_images_go_out_as_the_model_takes_them(
    server: Server, shape: tuple[int, ...], datatype: str, extensions: list[str]
) -> None:
    server.root = {"extensions": extensions}
    server.model["inputs"] = [tensor("image", datatype, *shape)]
    images = pictures(5)
    with Setup(server) as setup:
        assert setup.labels(images) == [0, 1, 2, 3, 4]
        assert setup.meter.count == server.rows == 5
    sent = server.asked[0].inputs["image"]
    wanted = images.transpose(0, 2, 3, 1) if shape[1:] == (2, 4, 3) else images
    wanted = wanted.reshape(5, 24) if len(shape) == 2 else wanted
    if datatype.startswith("FP"):
        np.testing.assert_allclose(sent, wanted / 255, rtol=1e-3)
    else:
        np.testing.assert_array_equal(sent, wanted)
    assert bool(server.asked[0].binary) == bool(extensions) == (LENGTH_HEADER in server.headers[0])


def test_grey_images_may_go_without_a_channel(server: Server) -> None:
    task = replace(TASK, image_shape=(1, 8, 8))
    server.model["inputs"] = [tensor("image", "UINT8", -1, 8, 8)]
    with Setup(server, task=task) as setup:
        assert setup.labels(pictures(3, task)) == [0, 1, 2]
    assert server.asked[0].inputs["image"].shape == (3, 8, 8)


def test_mean_and_std_normalise_pixels_from_0_to_1(server: Server) -> None:
    server.model["inputs"] = [tensor("image", "FP32", -1, 2, 4, 3)]
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.5]
    server.script = [outputs(scores=scores(np.array([7, 7])))]
    images = pictures(2)
    with Setup(server, mean=mean, std=std) as setup:
        assert setup.labels(images) == [7, 7]
    wanted = (images.transpose(0, 2, 3, 1) / 255 - mean) / std
    np.testing.assert_allclose(server.asked[0].inputs["image"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_labels_are_taken_where_a_model_tells_them(
    server: Server, shape: tuple[int, ...], dtype: type[np.integer[Any]]
) -> None:
    server.model["outputs"] = [SCORES, LABEL]
    server.outputs = lambda labels: {"label": labels.reshape(shape).astype(dtype)}
    with Setup(server) as setup:
        answer = setup.teacher.predict(pictures(3), setup.meter)
    assert answer.labels.tolist() == [0, 1, 2]
    assert answer.labels.dtype == np.int64
    assert answer.probabilities is None
    assert server.asked[0].outputs == ["label"]


def test_soft_takes_the_scores(server: Server) -> None:
    server.model["outputs"] = [LABEL, SCORES]
    with Setup(server, "soft") as setup:
        answer = setup.teacher.predict(pictures(3), setup.meter)
    assert answer.labels.tolist() == [0, 1, 2]
    assert answer.probabilities is not None and answer.probabilities.dtype == np.float32
    np.testing.assert_allclose(answer.probabilities, scores(np.arange(3)))


def test_logits_become_probabilities(server: Server) -> None:
    server.outputs = lambda labels: {"scores": scores(labels, high=1002.0, low=1000.0)}
    with Setup(server, "soft", scores="logits") as setup:
        answer = setup.teacher.predict(pictures(2), setup.meter)
    assert answer.probabilities is not None
    top = np.exp(2) / (np.exp(2) + 9)
    np.testing.assert_allclose(
        answer.probabilities[1], scores(np.array([1]), top, (1 - top) / 9)[0], rtol=1e-6
    )


def test_hard_needs_no_word_on_what_the_scores_are(server: Server) -> None:
    server.outputs = lambda labels: {"scores": scores(labels, high=9.0, low=-9.0)}
    with Setup(server) as setup:
        assert setup.labels(pictures(3)) == [0, 1, 2]


def test_a_server_that_says_nothing_of_itself_gets_json(server: Server) -> None:
    for page in (reply(None), (200, {}, b"<html>welcome</html>"), reply({"error": "no"}, 501)):
        server.pages["/v2"] = page
        with Setup(server) as setup:
            assert not setup.teacher.binary
            assert setup.labels(pictures(2)) == [0, 1]
            assert setup.clock.slept == []


def test_many_images_go_in_requests_of_max_rows(server: Server) -> None:
    with Setup(server, "soft", max_rows=4) as setup:
        answer = setup.teacher.predict(pictures(10), setup.meter)
        assert answer.labels.tolist() == list(range(10))
        assert answer.probabilities is not None and len(answer.probabilities) == 10
        assert setup.meter.ranges == [(0, 4), (4, 8), (8, 10)]
    assert [len(request.inputs["image"]) for request in server.asked] == [4, 4, 2]
    assert [request.id for request in server.asked] == ["run-1a2b/0", "run-1a2b/1", "run-1a2b/2"]


def test_a_model_of_single_images_gets_single_images(server: Server) -> None:
    server.model["inputs"] = [tensor("image", "UINT8", 1, 3, 2, 4)]
    with Setup(server) as setup:
        assert setup.teacher.max_rows == 1
        assert setup.labels(pictures(3)) == [0, 1, 2]
    assert server.rows == len(server.asked) == 3


def test_as_many_requests_run_at_once_as_there_are_lanes(server: Server) -> None:
    together = threading.Barrier(3, timeout=60)

    def meet(request: InferRequest) -> Answer:
        together.wait()
        return server.good(request)

    server.script = [meet] * 3
    with Setup(server, concurrency=3) as setup, ThreadPoolExecutor(3) as pool:
        assert setup.teacher.lanes == 3
        answers = pool.map(lambda n: setup.labels(pictures(n)), (1, 2, 3))
        assert list(answers) == [[0], [0, 1], [0, 1, 2]]


def test_the_hash_tells_another_version_of_the_model(server: Server) -> None:
    with Setup(server) as setup:
        assert setup.teacher.url == f"{server.url}/v2/models/small"
        before = setup.teacher.sha256
        assert setup.source.sha256() == before
        server.model["versions"] = ["2"]
        assert setup.source.sha256() != before


def test_another_teacher_than_the_runs_is_not_asked(server: Server) -> None:
    with Setup(server) as setup:
        before = setup.teacher.sha256
    with Setup(server, expected=before) as setup:
        assert setup.labels(pictures(2)) == [0, 1]
    server.model["versions"] = ["2"]
    with pytest.raises(UnreachableError, match="models/small changed since the run began") as raised:
        Setup(server, expected=before)
    assert f"its metadata had the hash {before[:12]}, and has " in str(raised.value)
    assert server.rows == 2


@pytest.mark.parametrize("step", [lambda request: None, reply({}, 503), reply({}, 500), (200, {}, b"<html>")])
def test_after_a_loss_another_teacher_gets_no_image(server: Server, step: Answer) -> None:
    def restart(request: InferRequest) -> Answer | None:
        server.model = server.model | {"versions": ["2"]}
        return step(request) if callable(step) else step

    server.script = [restart]
    with Setup(server) as setup:
        setup.refused(pictures(3), "models/small changed since the run began")
        assert setup.meter.ranges == [(0, 3)]
        setup.refused(
            pictures(3), "models/small changed since the run began"
        )  # nor later, nor on another lane
        assert server.rows == setup.meter.count == 3


def test_after_a_loss_the_same_teacher_is_looked_at_once(server: Server) -> None:
    server.script = [lambda request: None, reply({}, 429)]
    with Setup(server, max_rows=2) as setup:
        looks = len(server.gets)
        assert setup.labels(pictures(6)) == [0, 1, 2, 3, 4, 5]
        assert server.gets[looks:] == ["/v2/models/small"]
        assert setup.meter.ranges == [(0, 2)] * 3 + [(2, 4), (4, 6)]


# A model that does not fit costs nothing


@pytest.mark.parametrize(
    ("inputs", "outs", "options", "why"),
    [
        (
            [tensor("x", "UINT8", -1, 1, 8, 8)],
            [SCORES],
            {},
            r"x UINT8 \[-1, 1, 8, 8\]; wanted .* \[-1, 3, 2, 4\]",
        ),
        (
            [tensor("x", "BYTES", -1, 24)],
            [SCORES],
            {},
            r"small does not take the images of small\n  input x BYTES",
        ),
        ([tensor("x", "INT8", -1, 24)], [SCORES], {}, "input x INT8"),
        (
            [tensor("x", "UINT8", 8, 3, 2, 4)],
            [SCORES],
            {},
            r"takes 8 images at once.*\n  input x UINT8 \[8, 3",
        ),
        ([IMAGE, tensor("x", "FP32", -1)], [SCORES], {}, "which input .*\n.*\n  set teacher.http.input"),
        ([], [SCORES], {}, "which input of model small is meant.*\n  it tells no inputs"),
        ([IMAGE], [SCORES], {"input": "pixels"}, "has no input pixels\n  it has the inputs: image UINT8"),
        ([IMAGE], [SCORES], {"mean": [0.1, 0.2, 0.3]}, "takes raw pixels: input image is UINT8"),
        ([tensor("x", "FP32", -1, 24)], [SCORES], {"mean": [0.5]}, r"mean needs one number a channel \(3\)"),
        ([tensor("x", "FP32", -1, 24)], [SCORES], {"std": [1.0, 0.0, 1.0]}, "std needs .*, above 0"),
        (
            [IMAGE],
            [tensor("y", "FP32", -1, 100)],
            {},
            r"outputs: y FP32 \[-1, 100\]; wanted: FP scores \[-1, 10\]",
        ),
        ([IMAGE], [LABEL], {"response": "soft"}, "with response: soft needs\n  .*\n  .*set response: hard"),
        (
            [IMAGE],
            [SCORES, tensor("z", "FP32", -1, -1)],
            {},
            "which output .*\n.*\n  set teacher.http.output",
        ),
        ([IMAGE], [SCORES], {"output": "y"}, "has no output y\n  it has the outputs: scores FP32"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_any_query(
    server: Server, inputs: object, outs: object, options: dict[str, Any], why: str
) -> None:
    server.model |= {"inputs": inputs, "outputs": outs}
    with pytest.raises(UsageError, match=why):
        Setup(server, **options)
    assert server.asked == []


def test_tensors_can_be_named(server: Server) -> None:
    server.model |= {"outputs": [SCORES, tensor("z", "FP32", -1, -1)]}
    with Setup(server, input="image", output="scores") as setup:
        assert setup.labels(pictures(2)) == [0, 1]


def test_a_missing_model_is_asked_for_once_and_named(server: Server) -> None:
    why = r"\(asked once\)\n  HTTP 404.*nothing here\n  .*a model large/1\?"
    with pytest.raises(UnreachableError, match=f"/v2/models/large%2F1 refused the request {why}"):
        Setup(server, model="large/1")


def test_a_page_that_is_no_metadata_is_an_error(server: Server) -> None:
    server.pages["/v2/models/small"] = reply({"name": "small", "outputs": 3})
    with pytest.raises(UnreachableError, match=r"models/small .*\n  no metadata of a model: "):
        Setup(server)


# Bad answers. Of each: the text, how often it is asked, and what the meter counts

NAN = scores(np.arange(5))
NAN[3, 3] = np.nan


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (outputs(scores=scores(np.arange(4))), "answers 4 of 5 images"),
        (outputs(scores=scores(np.arange(5))[:, :7]), r"has the shape \(5, 7\), not \(5, 10\)"),
        (outputs(scores=NAN), "has NaN or infinity in it"),
        (outputs(scores=scores(np.arange(5), 4.0, -1.0)), "from -1 to 4, .* set teacher.http.scores: logits"),
        (outputs(scores=scores(np.arange(5), 0.5, 0.0)), "off a sum of 1 by up to 0.5"),
        (outputs(other=scores(np.arange(5))), "has no output scores, but other"),
        (outputs(), "has no output scores, but none at all"),
        (outputs(scores=np.ones(1)), "answers 1 of 5"),
        (reply({"error": "out of memory"}), "outputs: Field required"),
    ],
)
def test_a_bad_answer_counts_as_sent_and_is_not_asked_again(server: Server, step: Answer, why: str) -> None:
    server.script = [step]
    with Setup(server, "soft") as setup:
        text = setup.refused(pictures(5), why)
        assert setup.meter.count == server.rows == 5
        assert setup.clock.slept == []
    assert f"{server.url}/v2/models/small/infer gave an answer that is none (asked once)" in text
    assert "raysys tune --resume RUN then goes on without a loss" in text


def test_labels_must_be_classes(server: Server) -> None:
    server.model["outputs"] = [LABEL]
    for bad in (np.array([0, 10]), np.array([-1, 0]), np.array([0.0, 1.0], np.float32)):
        server.script = [outputs(label=bad)]
        with Setup(server) as setup:
            setup.refused(pictures(2), "output label is no class from 0 to 9")
            assert setup.meter.count == 2


@pytest.mark.parametrize(
    ("step", "why", "counted"),
    [
        (reply({"error": "busy"}, 429), "HTTP 429 Too Many Requests: busy", 0),
        (reply({"error": "busy"}, 503), "HTTP 503 Service Unavailable: busy", 15),
        (reply({"error": "bug"}, 500), "HTTP 500 Internal Server Error: bug", 15),
        ((502, {}, b"<html>\n  bad gateway"), "HTTP 502 Bad Gateway: <html> bad gateway", 15),
        ((504, {}, b""), "HTTP 504 Gateway Timeout", 15),
        ((200, {}, b"<html>sign in"), "the body is no JSON: <html>sign in", 15),
        ((200, {LENGTH_HEADER: "999"}, b"{}"), f"{LENGTH_HEADER} is 999, the body has 2 bytes", 15),
        (lambda request: None, "the connection was lost: Server disconnected", 15),
    ],
)
def test_what_may_pass_is_asked_again_until_the_retries_are_spent(
    server: Server, step: Answer, why: str, counted: int
) -> None:
    server.script = [step] * 3
    with Setup(server, retries=2) as setup:
        text = setup.refused(pictures(5), rf"/infer does not answer \(asked 3 times\)\n  {why}")
        assert setup.meter.count == counted
        assert setup.meter.ranges == [(0, 5)] * 3
        assert setup.clock.slept == [1, 2]
        assert server.url in text
        assert setup.labels(pictures(2)) == [0, 1]


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (reply({"error": "bad tensor"}, 400), "refused the request .*\n  HTTP 400 Bad Request: bad tensor"),
        (reply({"error": "who?"}, 401), r"\n  HTTP 401 .*\n  the API key in \$RAYSYS_API_KEY is not set"),
        (reply({"error": "no"}, 403), r"\n  HTTP 403 .*\n  the API key in \$RAYSYS_API_KEY is not set"),
        (reply(None), r"\n  HTTP 404 .*\n  is it an inference server, and has it a model small\?"),
        (
            reply({}, 308, Location="https://else/"),
            "moved to https://else/\n  .* not followed, as the API key",
        ),
    ],
)
def test_a_refusal_is_not_counted_and_not_asked_again(server: Server, step: Answer, why: str) -> None:
    server.script = [step]
    with Setup(server) as setup:
        assert "(asked once)" in setup.refused(pictures(5), why)
        assert setup.meter.count == 0
        assert server.rows == 5


def test_a_good_answer_after_failures_ends_the_waiting(server: Server) -> None:
    server.script = [reply({}, 500), reply({}, 429), (200, {}, b"<html>")]
    with Setup(server, max_rows=4) as setup:
        assert setup.labels(pictures(6)) == [0, 1, 2, 3, 4, 5]
        assert setup.meter.ranges == [(0, 4)] * 4 + [(4, 6)]
        assert setup.meter.count == 4 + 0 + 4 + 4 + 2
        assert setup.clock.slept == [1, 2, 4]


def test_the_waits_double_up_to_half_a_minute(server: Server) -> None:
    server.script = [reply({}, 429)] * 9
    with Setup(server, retries=8) as setup:
        setup.refused(pictures(1), "asked 9 times")
        assert setup.clock.slept == [1, 2, 4, 8, 16, 30, 30, 30]


NOON = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry_After": "7"}, 7),
        ({"Retry_After": "0"}, 1),
        ({"Retry_After": "86400"}, 300),
        ({"Retry_After": "Sat, 21 Nov 2026 12:00:45 GMT", "Date": NOON}, 45),
        ({"Retry_After": "Sat, 21 Nov 2026 11:00:00 GMT", "Date": NOON}, 1),
        ({"Retry_After": "Mon, 30 Nov 2026 12:00:00 GMT", "Date": NOON}, 300),
        ({"Retry_After": "soon"}, 1),
    ],
)
def test_retry_after_is_honoured_within_reason(
    server: Server, headers: Mapping[str, str], wait: float
) -> None:
    server.script = [reply({}, 429, **headers)]
    with Setup(server) as setup:
        assert setup.labels(pictures(1)) == [0]
        assert setup.clock.slept == [wait]


def test_a_timeout_counts_as_sent(server: Server) -> None:
    end = threading.Event()

    def hang(request: InferRequest) -> None:
        end.wait(60)

    server.script = [hang]
    with Setup(server, timeout_s=1.0, retries=0) as setup:
        setup.refused(pictures(3), r"does not answer \(asked once\)\n  no answer within 1 s")
        assert setup.meter.count == 3
    end.set()


def test_an_answer_that_drips_in_meets_the_same_deadline(server: Server) -> None:
    with Setup(server, timeout_s=1.0, retries=0) as setup:
        dripped = 0

        def drip(request: InferRequest) -> Iterator[bytes]:
            nonlocal dripped
            outputs = {"scores": scores(classes(request))}
            for byte in encode_response(request.id, "small", outputs, ()).body:
                dripped += 1
                setup.clock.now += 0.1
                yield bytes([byte])

        server.script = [lambda request: (200, {}, drip(request))]
        setup.refused(pictures(3), r"does not answer \(asked once\)\n  no answer within 1 s")
        assert setup.meter.count == 3
        assert dripped >= 10
        assert setup.labels(pictures(2)) == [0, 1]


def test_an_answer_longer_than_any_can_be_is_cut_off(server: Server) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    server.script = [(200, {"Content-Encoding": "gzip"}, bomb)]
    with Setup(server) as setup:
        setup.refused(pictures(5), r"answers too much \(asked once\)\n  .* the limit of 1051776 bytes")
        assert setup.meter.count == server.rows == 5
        assert setup.labels(pictures(2)) == [0, 1]
    assert server.headers[0]["Accept-Encoding"] == "identity"
    server.pages["/v2/models/small"] = reply({"name": "x" * 2_000_000})
    with pytest.raises(UnreachableError, match="longer than the limit of 1048576 bytes"):
        Setup(server)


def test_of_a_refusals_page_only_the_beginning_is_read(server: Server) -> None:
    read = 0

    def page() -> Iterator[bytes]:
        nonlocal read
        for _ in range(1000):
            yield b"no room " * 1000
            read += 8000

    server.script = [(413, {}, page())]
    with Setup(server) as setup:
        setup.refused(pictures(5), r"HTTP 413 [\w ]+: no room no room")
    assert read < 8_000_000


def test_a_refused_connection_does_not_count() -> None:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with Setup(server, retries=2) as setup:
        server.shutdown()
        thread.join()
        server.server_close()
        setup.refused(pictures(3), r"\(asked 3 times\)\n  no connection: .*refused")
        assert setup.meter.count == 0
        assert setup.meter.ranges == [(0, 3)]  # then it is asked what it is, until it answers that
    with pytest.raises(UnreachableError, match=f"teacher at {server.url}/v2 does not answer") as raised:
        Setup(server, retries=0)
    assert raised.value.exit_code == 6


def test_a_tls_failure_is_told_at_once(server: Server) -> None:
    with pytest.raises(UnreachableError, match=r"\(asked once\)\n  TLS: .*\n  check the URL; SSL_CERT_FILE"):
        Setup(server, url=server.url.replace("http", "https"))


def test_what_the_meter_refuses_is_not_sent(server: Server) -> None:
    class Full(Counter):
        def sent(self, start: int, stop: int) -> None:
            raise StorageError("the disk is full")

    with Setup(server) as setup:
        setup.meter = Full()
        setup.refused(pictures(3), "the disk is full", StorageError)
    assert server.asked == []


# Rate limit


def test_the_rate_limit_counts_images_and_attempts(server: Server) -> None:
    server.script = [server.good, reply({}, 500)]
    with Setup(server, queries_per_second=2.0, max_rows=10) as setup:
        setup.labels(pictures(10))  # at once; the next may go 10 / 2 = 5 s later
        assert setup.clock.slept == []
        setup.labels(pictures(3))  # waits 5, fails, backs off 1, waits the rest of 3 / 2
        assert setup.clock.slept == [5, 1, 0.5]
        setup.clock.sleep(60)  # time that nobody used is not saved up
        setup.labels(pictures(20))
        assert setup.clock.slept[3:] == [60, 5]


# The key


@pytest.mark.parametrize(
    ("header", "value"),
    [("Authorization", f"Bearer {KEY}"), ("X-Api-Key", KEY), ("authorization", f"Bearer {KEY}")],
)
def test_the_key_is_sent_in_its_header(
    server: Server, header: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYSYS_MY_KEY", f"{KEY}\n")
    spec = HttpSpec(url=server.url, model="small", api_key_env="RAYSYS_MY_KEY", api_key_header=header)
    source = HttpSource.from_spec(spec, TASK, "hard", "run-1a2b")
    teacher = copy.deepcopy(source).backend("cpu")  # copied as a pickle is
    teacher.predict(pictures(1), Counter())
    teacher.close()
    assert {name.lower(): value for name, value in server.headers[0].items()}[header.lower()] == value
    assert KEY not in repr(source) + str(source)


@pytest.mark.parametrize(
    "step",
    [
        reply({"error": f"unknown key {KEY}"}, 401),
        reply({"error": f"{'x' * 190} {KEY}"}, 500),
        (502, {}, f"<html>{KEY}".encode()),
        (200, {}, f"<html>{'x' * 185}{KEY}".encode()),
        reply({}, 307, Location=f"https://else/?key={KEY}"),
        outputs(**{KEY: scores(np.arange(2))}),
    ],
)
def test_the_key_is_in_no_error_and_no_log(
    server: Server, step: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [step] * 2
    with caplog.at_level(logging.DEBUG), Setup(server, api_key=KEY, retries=1) as setup:
        text = setup.refused(pictures(2), "teacher at")
        assert KEY[:6] not in text + caplog.text + repr(setup.source)
        assert ("the API key in $RAYSYS_API_KEY was refused" in text) == ("HTTP 401" in text)


@pytest.mark.parametrize(
    ("url", "key", "why"),
    [
        (
            "http://teacher.example/v1",
            KEY,
            r"\$RAYSYS_API_KEY would travel in clear to http://teacher.example/v1",
        ),
        ("http://127.0.0.1.example", KEY, "would travel in clear"),
        ("https://teacher.example", "two words", "has blanks or characters that no key has"),
        ("https://teacher.example", "line\nbreak", "has blanks"),
        ("https://teacher.example:port", KEY, "teacher.http.url is no URL"),
    ],
)
def test_a_key_that_could_leak_is_refused(url: str, key: str | None, why: str) -> None:
    with pytest.raises(UsageError, match=why) as raised:
        HttpSource(HttpSpec(url=url, model="small"), TASK, "hard", "run", api_key=key)
    assert str(key) not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:8123", "write http://localhost:8123$"),
        ("teacher.example/v1", "write http://teacher.example/v1$"),
        (
            "https://me:secret@teacher.example/v1",
            "no password: the key belongs into the environment variable$",
        ),
        ("me:secret@teacher.example", "no password: the key belongs into the environment variable$"),
        ("ftp://teacher.example", "write http://HOST:PORT or https://HOST/PATH"),
        ("https://teacher.example/v1?key=secret", "write http://HOST:PORT or https://HOST/PATH"),
        ("https://", "write http://HOST:PORT"),
        ("http://teacher.example\n", "write http://HOST:PORT"),
    ],
)
def test_an_address_that_cannot_be_one_says_how_to_write_it(url: str, why: str) -> None:
    overrides = {"teacher": {"architecture": None, "recipe": None, "http": {"url": url}}}
    with pytest.raises(UsageError, match=r"teacher\.http\.url: .*" + why) as raised:
        apply_overrides(load_space("digits"), overrides)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "RAYSYS_", "raysys_key", "X_RAYSYS_KEY", ""])
def test_a_space_names_no_other_secret_of_the_environment(name: str) -> None:
    http = {"url": "https://teacher.example", "api_key_env": name}
    with pytest.raises(UsageError, match=r"teacher\.http\.api_key_env: .* must begin with RAYSYS_"):
        apply_overrides(
            load_space("digits"), {"teacher": {"architecture": None, "recipe": None, "http": http}}
        )


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with Setup(server) as setup:
        assert setup.labels(pictures(1)) == [0]


@pytest.mark.slow
def test_what_an_actor_has_to_wait_for_is_in_the_log(server: Server, tmp_path: Path, local_ray: None) -> None:
    from raysys.teacher.actor import ActorOracle, start_teacher  # Ray takes seconds to import

    server.script = [reply({"error": "busy"}, 429)]
    source = HttpSource(HttpSpec(url=server.url, model="small"), TASK, "hard", "run-1a2b")
    log = tmp_path / "raysys.log"
    handle = start_teacher(TeacherSetup(source, TASK, "hard", tmp_path / "ledger", log=log))
    ActorOracle(handle, "u00000", 10).ask(pictures(3), 0)
    assert "/infer: HTTP 429 Too Many Requests: busy; next attempt in 1 s" in log.read_text()
