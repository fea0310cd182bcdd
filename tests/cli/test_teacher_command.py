import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from raysys.cli.app import main
from raysys.data.datasets import load_dataset
from raysys.space.load import load_space
from raysys.space.load import smoke as shrink
from raysys.space.schema import HttpSpec
from raysys.teacher.counter import read_counter
from raysys.teacher.http import HttpSource
from raysys.teacher.infer_v2 import encode_request
from raysys.teacher.local import TorchTeacher
from raysys.teacher.training import default_cache_dir, find


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_teacher_is_trained_once_and_then_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "train", "--space", "digits", "--smoke", "--json"]) == 0
    trained = capsys.readouterr()
    assert "epoch 10/10" in trained.err
    assert main(["teacher", "eval", "--space", "digits", "--smoke", "--json"]) == 0
    evaluated = capsys.readouterr()
    assert json.loads(evaluated.out) == json.loads(trained.out)
    assert "epoch" not in evaluated.err
    assert json.loads(trained.out)["test_accuracy"] > 0.9


def test_evaluating_an_untrained_teacher_says_how_to_train_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "eval", "--space", "digits"]) == 2
    assert "raysys teacher train --space digits" in capsys.readouterr().err


def test_missing_data_exits_2_and_names_the_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["teacher", "train", "--space", "mnist", "--data-root", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(tmp_path / "MNIST" / "raw") in captured.err


class Sent:
    """Counts what a backend sends."""

    images = 0

    def sent(self, start: int, stop: int) -> None:
        self.images += stop - start

    def unsent(self, start: int, stop: int) -> None:
        self.images -= stop - start


@contextmanager
def server(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`raysys teacher serve` in a process of its own, and what it says when it is ready."""
    command = [sys.executable, "-m", "raysys", "teacher", "serve", "--space", "digits", "--smoke", "--json"]
    process = subprocess.Popen(
        [*command, "--threads", "1", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def source(url: str, response: str) -> HttpSource:
    task = load_dataset("digits", Path()).task
    return HttpSource(HttpSpec(url=url, model="digits"), task, response, run_id="run-1")


@pytest.mark.slow
@pytest.mark.parametrize("response", ["hard", "soft"])
def test_the_served_teacher_answers_as_it_does_in_process(response: str) -> None:
    with server("--port", "0") as (_, ready):
        dataset = load_dataset("digits", Path())
        images = dataset.test_images[:300]
        meter = Sent()
        with closing(source(ready["url"], response).backend("cpu")) as client:
            answer = client.predict(images, meter)
        assert client.binary
        assert read_counter(source(ready["url"], response)) == meter.images == 300
    teacher = find(shrink(load_space("digits")).teacher, dataset, default_cache_dir())
    assert teacher is not None
    expected = TorchTeacher(teacher.module).answer(images)
    assert np.array_equal(answer.labels, expected.labels)
    if response == "soft":
        assert answer.probabilities is not None
        assert expected.probabilities is not None
        assert np.allclose(answer.probabilities, expected.probabilities, atol=1e-6)


@pytest.mark.slow
def test_counts_survive_a_kill_and_the_same_port_is_taken_again() -> None:
    images = np.zeros((7, 1, 8, 8), np.uint8)
    with server("--port", "0") as (process, ready):
        with closing(source(ready["url"], "hard").backend("cpu")) as client:
            client.predict(images, Sent())
        process.send_signal(signal.SIGKILL)
        process.wait()
    port = ready["url"].rpartition(":")[2]
    with server("--port", port) as (_, again):
        assert again["url"] == ready["url"]
        assert read_counter(source(again["url"], "hard")) == 7
        with closing(source(again["url"], "hard").backend("cpu")) as client:
            client.predict(images, Sent())
        assert read_counter(source(again["url"], "hard")) == 14


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_after_the_request_under_way(number: signal.Signals) -> None:
    message = encode_request("", {"images": np.zeros((1, 1, 8, 8), np.uint8)}, ["labels"], binary=False)
    head = (
        "POST /v2/models/digits/infer HTTP/1.1\r\nHost: digits\r\nExpect: 100-continue\r\n"
        f"Content-Length: {len(message.body)}\r\n\r\n"
    )
    with server("--port", "0") as (process, ready):
        address = ("127.0.0.1", int(ready["url"].rpartition(":")[2]))
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 100")  # the server waits for the body
            process.send_signal(number)
            _wait_until_closed(address)
            connection.sendall(message.body)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out == ""
        assert "Traceback" not in err
        assert f"raysys tune --space digits --smoke --teacher-url {ready['url']}" in err


def _wait_until_closed(address: tuple[str, int]) -> None:
    while True:
        try:
            socket.create_connection(address, timeout=60).close()
        except OSError:
            return


@pytest.mark.slow
def test_two_servers_and_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_text("secret\n")
    with server("--port", "0", "--api-key-file", str(tmp_path / "key"), "--labels-only") as (_, ready):
        assert httpx.get(f"{ready['url']}/v2", trust_env=False).status_code == 401
        key = {"Authorization": "Bearer secret"}
        about = httpx.get(f"{ready['url']}/v2/models/digits", headers=key, trust_env=False).json()
        assert [one["name"] for one in about["outputs"]] == ["labels"]
        port = ready["url"].rpartition(":")[2]
        assert main(["teacher", "serve", "--space", "digits", "--smoke", "--port", port]) == 2
        assert f"port {port}" in capsys.readouterr().err
        assert main(["teacher", "serve", "--space", "digits", "--smoke", "--port", "0"]) == 1
        assert "another server counts in" in capsys.readouterr().err


def test_nothing_is_served_to_others_without_a_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAYSYS_API_KEY", raising=False)
    serve = ["teacher", "serve", "--space", "digits", "--port", "0"]
    assert main([*serve, "--host", "0.0.0.0"]) == 2
    assert "without an API key" in capsys.readouterr().err
    assert main([*serve, "--api-key-file", str(tmp_path / "none")]) == 2
    assert "cannot read the API key" in capsys.readouterr().err
    (tmp_path / "empty").touch()
    assert main([*serve, "--api-key-file", str(tmp_path / "empty")]) == 2
    assert "one word of ASCII text" in capsys.readouterr().err
    assert main([*serve, "--device", "nowhere"]) == 2
    assert "cannot use --device nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(("model", "expected"), [([], "theirs"), (["--teacher-model", "new"], "new")])
def test_a_space_behind_http_keeps_its_keys_when_another_url_is_given(
    model: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {
        "name": "outside",
        "dataset": "digits",
        "teacher": {"mean": [0.5], "http": {"url": "http://old", "model": "theirs", "retries": 7}},
        "student": "mlp",
        "parameters": {"query_budget": {"type": "int", "low": 1000, "high": 2000}},
        "trials": 1,
    }
    file = tmp_path / "outside.yaml"
    file.write_text(json.dumps(space))
    show = ["tune", "--space", str(file), "--print-config", "--teacher-url", "http://new:80", *model]
    assert main(show) == 0
    teacher = yaml.safe_load(capsys.readouterr().out)["teacher"]
    assert (teacher["mean"], teacher["http"]["retries"]) == ([0.5], 7)
    assert (teacher["http"]["url"], teacher["http"]["model"]) == ("http://new:80", expected)


def test_a_teacher_behind_http_takes_the_place_of_the_spaces_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--space", "digits", "--print-config", "--teacher-url", "http://new:80"]) == 0
    teacher = yaml.safe_load(capsys.readouterr().out)["teacher"]
    assert teacher["http"]["url"] == "http://new:80"
    assert teacher["architecture"] is teacher["recipe"] is None
