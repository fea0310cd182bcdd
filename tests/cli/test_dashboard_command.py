"""`raysys dashboard`: what it refuses, and how it is served."""

import socket
from pathlib import Path

import httpx
import pytest
from edge_runs import build
from served import served

from raysys.cli.app import main
from raysys.cli.dashboard import url


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    build(tmp_path / "runs", "three")
    return tmp_path / "runs"


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["dashboard", *map(str, argv)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


def token_file(folder: Path, token: str, mode: int = 0o600) -> Path:
    file = folder / "token"
    file.write_text(token)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_another_host_needs_a_token(host, storage, capsys):
    told = refused(capsys, storage, "--host", host)
    assert f"others could reach {host}" in told
    assert "--token-file" in told
    assert "ssh -L" in told


@pytest.mark.parametrize(
    ("token", "mode", "why"),
    [
        ("x" * 15, 0o600, "16 or more characters"),
        ("x" * 16 + "\n" + "y" * 16, 0o600, "in one line"),
        ("", 0o600, "16 or more characters"),
        ("x" * 32, 0o644, "others can read"),
        ("x" * 32, 0o620, "others can read"),
    ],
)
def test_a_token_must_be_a_secret(token, mode, why, storage, tmp_path, capsys):
    told = refused(capsys, storage, "--token-file", token_file(tmp_path, token, mode))
    assert why in told
    assert not token or token not in told


def test_a_token_file_must_be_there(storage, tmp_path, capsys):
    assert "cannot read the token" in refused(capsys, storage, "--token-file", tmp_path / "none")
    (tmp_path / "token").write_bytes(b"\xff" * 20)
    assert "cannot read the token" in refused(capsys, storage, "--token-file", tmp_path / "token")


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1"])
def test_a_bad_port_is_refused(port, storage, capsys):
    assert "--port" in refused(capsys, storage, "--port", port)


def test_a_port_in_use_is_told(storage, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} is in use" in refused(capsys, storage, "--port", port)


def test_an_address_of_another_machine_is_told(storage, tmp_path, capsys):
    token = token_file(tmp_path, "x" * 32)
    assert "cannot listen at 192.0.2.1" in refused(
        capsys, storage, "--host", "192.0.2.1", "--token-file", token
    )


def test_a_missing_storage_and_a_missing_run_are_told(storage, capsys):
    assert "cannot list the runs in" in refused(capsys, storage / "none")
    told = refused(capsys, storage, "--run", "threee")
    assert "there is no run threee" in told
    assert "did you mean: three?" in told


@pytest.mark.parametrize(
    ("host", "run", "address"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:8501/"),
        ("::1", "a b&c/数", "http://[::1]:8501/?run=a%20b%26c%2F%E6%95%B0"),
        ("0.0.0.0", None, f"http://{socket.gethostname()}:8501/"),
    ],
)
def test_the_address_opens_the_run(host, run, address):
    assert url(host, 8501, run) == address


def test_it_is_served_on_this_machine_only(storage, tmp_path):
    log = tmp_path / "log"
    with served(storage, "--run", "three", log=log) as address:
        assert httpx.get(address, timeout=30).status_code == 200
        with pytest.raises(ConnectionRefusedError):  # another address of this machine
            socket.create_connection(("127.0.0.2", httpx.URL(address).port), timeout=5)
    lines = log.read_text().splitlines()
    assert lines == [f"The dashboard of {storage}: {address}/?run=three", "Ctrl-C ends it."]


def test_a_page_of_another_host_cannot_read_it(storage, tmp_path):
    """DNS rebinding: the browser asks this server in another host's name."""
    websocket = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "x" * 22 + "==",
    }
    with served(storage, log=tmp_path / "log") as address:
        stream = f"{address}/_stcore/stream"
        for header in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert httpx.get(stream, headers={**websocket, **header}, timeout=30).status_code == 403


def test_an_empty_storage_is_served(tmp_path):
    (tmp_path / "runs").mkdir()
    with served(tmp_path / "runs", log=tmp_path / "log") as address:
        assert httpx.get(address, timeout=30).status_code == 200
