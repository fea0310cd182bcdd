import json
import re
import resource
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import uvicorn
from starlette.applications import Starlette

from raysys.errors import StorageError, UsageError
from raysys.oracle import Images, Response
from raysys.records import Task
from raysys.space.schema import HttpSpec
from raysys.teacher.counter_file import QueryCounter
from raysys.teacher.http import HttpSource
from raysys.teacher.infer_v2 import LENGTH_HEADER, decode_response, encode_request
from raysys.teacher.local import TorchTeacher
from raysys.teacher.server import build_app, listen, url_of

TASK = Task("tiny", (1, 2, 3), 4, flip=False)
INFER = "/v2/models/tiny/infer"


def tiny_teacher() -> TorchTeacher:
    torch.manual_seed(0)
    return TorchTeacher(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4)))


def images(n: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (n, *TASK.image_shape), np.uint8)


@contextmanager
def serving(app: Starlette, key: str | None = None) -> Iterator[httpx.Client]:
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
    listener = listen("127.0.0.1", 0, has_key=False)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(base_url=url_of(listener), headers=headers, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[QueryCounter]:
    counter = QueryCounter(tmp_path / "counter.log")
    yield counter
    counter.close()


@pytest.fixture
def client(counter: QueryCounter) -> Iterator[httpx.Client]:
    with serving(build_app("tiny", TASK, tiny_teacher().answer, counter, max_rows=8)) as client:
        yield client


def body(pixels: Images, **changes: Any) -> dict[str, Any]:
    """A request in JSON, as the protocol's text has it."""
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.tolist()}
    return {"id": "run/u1/0", "inputs": [tensor | changes]}


def counted(client: httpx.Client) -> dict[str, tuple[int, int]]:
    """(images, requests) by run, as /metrics tells them."""
    text = client.get("/metrics").text
    found = [
        dict(re.findall(rf'^raysys_teacher_{what}_total{{run="(.*)"}} (\d+)$', text, re.MULTILINE))
        for what in ("images", "requests")
    ]
    return {run: (int(found[0][run]), int(found[1][run])) for run in found[0]}


def test_the_server_and_its_model_describe_themselves(client: httpx.Client) -> None:
    assert "binary_tensor_data" in client.get("/v2").json()["extensions"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}
    about = client.get("/v2/models/tiny").json()
    assert about["name"] == "tiny"
    assert about["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 1, 2, 3]}]
    assert about["outputs"] == [
        {"name": "labels", "datatype": "INT64", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 4]},
    ]


def test_a_client_can_tell_when_the_weights_changed(counter: QueryCounter) -> None:
    found = []
    for version in ("a1", "a1", "b2"):
        app = build_app("tiny", TASK, tiny_teacher().answer, counter, max_rows=8, version=version)
        with serving(app) as client:
            spec = HttpSpec(url=str(client.base_url).rstrip("/"), model="tiny")
            found.append(HttpSource(spec, TASK, "hard", "run").sha256())
    assert found[0] == found[1] != found[2]


def test_json_requests_get_the_teachers_answer(client: httpx.Client) -> None:
    expected = tiny_teacher().answer(images(5))
    answer = client.post(INFER, json=body(images(5))).json()
    assert (answer["id"], answer["model_name"]) == ("run/u1/0", "tiny")
    labels, probabilities = answer["outputs"]
    assert (labels["name"], labels["datatype"], labels["shape"]) == ("labels", "INT64", [5])
    assert labels["data"] == expected.labels.tolist()
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP32", [5, 4])
    assert np.array_equal(np.float32(probabilities["data"]), np.ravel(expected.probabilities))


def test_binary_requests_get_the_teachers_answer(client: httpx.Client) -> None:
    expected = tiny_teacher().answer(images(5))
    request = encode_request("run/u1/0", {"images": images(5)}, ["probabilities", "labels"], binary=True)
    answer = client.post(INFER, content=request.body, headers=request.headers)
    outputs = decode_response(answer.content, answer.headers[LENGTH_HEADER])
    assert list(outputs) == ["probabilities", "labels"]
    assert np.array_equal(outputs["labels"], expected.labels)
    assert np.array_equal(outputs["probabilities"], expected.probabilities)


def test_a_request_chooses_outputs_and_their_form(client: httpx.Client) -> None:
    chosen = client.post(INFER, json=body(images(2)) | {"outputs": [{"name": "labels"}]}).json()
    assert [output["name"] for output in chosen["outputs"]] == ["labels"]
    everything = body(images(2)) | {"parameters": {"binary_data_output": True}}
    answer = client.post(INFER, json=everything)
    assert len(answer.content) == int(answer.headers[LENGTH_HEADER]) + 2 * 8 + 2 * 4 * 4


def test_labels_only_never_tells_probabilities(counter: QueryCounter) -> None:
    with serving(
        build_app("tiny", TASK, tiny_teacher().answer, counter, max_rows=8, labels_only=True)
    ) as client:
        about = client.get("/v2/models/tiny").json()
        assert [output["name"] for output in about["outputs"]] == ["labels"]
        answer = client.post(INFER, json=body(images(2))).json()
        assert [output["name"] for output in answer["outputs"]] == ["labels"]
        refused = client.post(INFER, json=body(images(2)) | {"outputs": [{"name": "probabilities"}]})
        assert refused.status_code == 400
        assert "no output 'probabilities'" in refused.json()["error"]


@pytest.mark.parametrize(
    ("request_body", "why"),
    [
        (body(images(1), name="pixels"), "one input, 'images'; the request has ['pixels']"),
        ({"id": "run/u1/0", "inputs": []}, "the request has []"),
        (body(images(1), datatype="FP32"), "must be UINT8 [-1, 1, 2, 3]"),
        (body(images(1), datatype="BYTES"), "BYTES is not known"),
        (body(images(1).reshape(1, 6)), "not uint8 [1, 6]"),
        (body(images(1).reshape(1, 1, 3, 2)), "not uint8 [1, 1, 3, 2]"),
        (body(images(0)), "1 image or more"),
        (body(images(2), shape=[3, 1, 2, 3]), "no 18 numbers"),
        (body(images(1), data=[256] * 6), "no UINT8"),
        (body(images(1), data=[-1] * 6), "no UINT8"),
        (body(images(1), data=[0.5] * 6), "no UINT8"),
        (body(images(1), data=["1"] * 6), "no 6 numbers"),
        (body(images(1), data=[10**400] * 6), "no 6 numbers"),
        (body(images(1), shape=[-1, 1, 2, 3]), "greater than or equal to 0"),
        (body(images(1), shape=[0, 10**30, 2, 3], data=[]), "tensor images: "),
        (body(images(1), parameters={"binary_data_size": 7}), "7 bytes are no UINT8"),
        (body(images(0), parameters={"binary_data_size": 0.0}), "bytes are no UINT8"),
        (body(images(1)) | {"outputs": [{"name": "logits"}]}, "no output 'logits'"),
        (body(images(1)) | {"id": "r" * 301 + "/u1/0"}, "at most 300 printable characters"),
        (body(images(1)) | {"id": "a\nb/u1/0"}, "printable"),
        (body(images(1)) | {"id": 7}, "id: "),
        ([1, 2], "the body"),
    ],
)
def test_a_wrong_request_is_told_why_and_not_counted(
    client: httpx.Client, request_body: Any, why: str
) -> None:
    refused = client.post(INFER, json=request_body)
    assert refused.status_code == 400
    assert why in refused.json()["error"]
    assert counted(client) == {}


def test_a_surrogate_in_a_runs_name_is_refused(client: httpx.Client) -> None:
    text = json.dumps(body(images(1)) | {"id": "\ud800/u1/0"})
    assert client.post(INFER, content=text).status_code == 400
    assert counted(client) == {}


def test_what_is_not_json_or_not_there_is_refused_in_json(client: httpx.Client) -> None:
    assert "no JSON" in client.post(INFER, content=b"<html>").json()["error"]
    length = client.post(INFER, content=b"{}", headers={LENGTH_HEADER: "3"})
    assert (length.status_code, LENGTH_HEADER in length.json()["error"]) == (400, True)
    unknown = client.post("/v2/models/other/infer", json=body(images(1)))
    assert unknown.status_code == 404
    assert unknown.json() == {"error": "nothing here: the one model is at /v2/models/tiny"}
    assert client.get("/v2/models/other").status_code == 404
    assert client.get("/v2/models/other/ready").status_code == 404
    assert client.post("/v2/models/tiny").status_code == 405
    assert client.get(INFER).json() == {"error": "Method Not Allowed"}


def test_too_many_images_are_refused(client: httpx.Client) -> None:
    assert client.post(INFER, json=body(images(8))).status_code == 200
    refused = client.post(INFER, json=body(images(9)))
    assert (refused.status_code, refused.json()["error"]) == (413, "9 images: send at most 8 a request")
    assert counted(client) == {"run": (8, 1)}


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(client: httpx.Client) -> None:
    address = (client.base_url.host, client.base_url.port)
    with socket.create_connection(address, timeout=20) as connection:
        head = f"POST {INFER} HTTP/1.1\r\nHost: tiny\r\nContent-Length: {10**9}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_body_of_unknown_length_is_cut_off(client: httpx.Client) -> None:
    refused = client.post(INFER, content=(b" " * 1000 for _ in range(100)))
    assert refused.status_code == 413
    assert "at most 8 images" in refused.json()["error"]


def test_only_the_key_opens(counter: QueryCounter) -> None:
    with serving(
        build_app("tiny", TASK, tiny_teacher().answer, counter, max_rows=8, api_key="secret")
    ) as client:
        for headers in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "Bearer sécret"}):
            for refused in (
                client.post(INFER, json=body(images(1)), headers=_bytes(headers)),
                client.get("/metrics", headers=_bytes(headers)),
            ):
                assert refused.status_code == 401
                assert "Authorization: Bearer KEY" in refused.json()["error"]
        opened = client.post(INFER, json=body(images(1)), headers={"Authorization": "Bearer secret"})
        assert opened.status_code == 200


def _bytes(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


def test_images_are_counted_by_run(client: httpx.Client) -> None:
    for n, request_id in ((3, "one/u1/0"), (2, "one/u2/0"), (1, 'a"\\b/u1/0'), (4, "d41d8cd98f"), (1, "")):
        assert client.post(INFER, json=body(images(n)) | {"id": request_id}).status_code == 200
    assert counted(client) == {"": (5, 2), 'a\\"\\\\b': (1, 1), "one": (5, 2)}
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE raysys_teacher_images_total counter\n" in answer.text


def test_the_longest_name_that_a_runs_folder_can_have_is_counted(client: httpx.Client) -> None:
    run = "r" * 255 + "-1a2b3c4d"
    assert client.post(INFER, json=body(images(2)) | {"id": f"{run}/0"}).status_code == 200
    assert counted(client) == {run: (2, 1)}


def test_concurrent_requests_are_each_answered_and_counted_once(client: httpx.Client) -> None:
    asked = [images(1 + seed % 5, seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda pixels: client.post(INFER, json=body(pixels)).json(), asked))
    teacher = tiny_teacher()
    for pixels, answer in zip(asked, answers, strict=True):
        assert answer["outputs"][0]["data"] == teacher.answer(pixels).labels.tolist()
    assert counted(client) == {"run": (sum(map(len, asked)), len(asked))}


def test_a_teacher_that_fails_fails_one_request(counter: QueryCounter) -> None:
    teacher = tiny_teacher()

    def predict(pixels: Images) -> Response:
        if len(pixels) == 2:
            raise ValueError("secret path")
        return teacher.answer(pixels)

    with serving(build_app("tiny", TASK, predict, counter, max_rows=8)) as client:
        failed = client.post(INFER, json=body(images(2)))
        assert failed.status_code == 500
        assert failed.json() == {"error": "the teacher failed; the server's log says why"}
        assert client.post(INFER, json=body(images(1))).status_code == 200


def test_what_cannot_be_counted_is_not_answered(client: httpx.Client, tmp_path: Path) -> None:
    assert client.post(INFER, json=body(images(1))).status_code == 200
    size = (tmp_path / "counter.log").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, before[1]))  # as a full disk: 5 bytes fit
    try:
        refused = client.post(INFER, json=body(images(2)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.status_code == 503
    assert "cannot write the counter" in refused.json()["error"]
    assert client.post(INFER, json=body(images(4))).status_code == 200
    assert counted(client) == {"run": (5, 2)}
    assert len((tmp_path / "counter.log").read_text().splitlines()) == 2


def test_counts_survive_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "counter.log"
    counter = QueryCounter(path)
    counter.add("one", 3)
    counter.add("two", 4)
    counter.close()
    with path.open("ab") as file:
        file.write(b'{"run": "one", "ima')
    counter = QueryCounter(path)
    counter.add("one", 5)
    counter.close()
    counter = QueryCounter(path)
    assert 'raysys_teacher_images_total{run="one"} 8\n' in counter.metrics()
    assert 'raysys_teacher_images_total{run="two"} 4\n' in counter.metrics()
    assert 'raysys_teacher_requests_total{run="one"} 2\n' in counter.metrics()
    counter.close()


def test_a_damaged_counter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counter.log"
    path.write_text('{"run": "one", "images": 3}\nnonsense\n')
    with pytest.raises(StorageError, match=r"counter is damaged: .*counter.log, byte 28"):
        QueryCounter(path)
    assert path.read_text().endswith("nonsense\n")


def test_a_counter_has_one_server(counter: QueryCounter, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"another server counts in .*counter.log"):
        QueryCounter(tmp_path / "counter.log")


def test_a_counter_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write the counter"):
        QueryCounter(tmp_path / "file" / "counter.log")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_others_are_served_with_a_key_only(host: str) -> None:
    with pytest.raises(UsageError, match="without an API key"):
        listen(host, 0, has_key=False)


def test_a_port_in_use_and_an_unknown_host_are_named() -> None:
    with listen("localhost", 0, has_key=False) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port}\n.*in use"):
            listen("localhost", port, has_key=False)
    with pytest.raises(UsageError, match=r"cannot listen on no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0, has_key=True)


def test_connections_send_small_answers_at_once() -> None:
    with (
        listen("127.0.0.1", 0, has_key=False) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
