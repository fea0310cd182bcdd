"""The dashboard with a token, asked by a browser's means: a real server on loopback."""

from collections.abc import Iterator

import httpx
import pytest
from edge_runs import build
from served import served
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

TOKEN = "0123456789abcdef-ü+&"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    build(folder / "runs", "three")
    token = folder / "token"
    token.touch(0o600)
    token.write_text(TOKEN + "\n")
    with served(folder / "runs", "--token-file", str(token), log=folder / "log") as url:
        yield url


@pytest.fixture
def browser(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/tradeoff?run=three",
        "/_stcore/metrics",
        "/_stcore/health",
        "/_stcore/host-config",
        "/static/",
        "//evil.example/?token=x",
    ],
)
def test_without_the_token_nothing_is_shown(path, browser, address):
    answer = browser.send(browser.build_request("GET", address + path))
    assert answer.status_code == 401
    assert "asks for a token" in answer.text
    assert not answer.cookies
    assert browser.post(path).status_code == 401


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "0"])
def test_a_wrong_token_is_refused(token, browser):
    answer = browser.get("/", params={"token": token})
    assert answer.status_code == 401
    assert ("That token is not right." in answer.text) == bool(token)
    cookie = f"raysys-{browser.base_url.port}={token}".encode()
    assert browser.get("/", headers={"Cookie": cookie}).status_code == 401


def test_the_token_brings_a_cookie_and_leaves_the_address(browser):
    answer = browser.get("/tradeoff", params={"run": "three & é", "token": TOKEN, "pin": ["a", "b"]})
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    then = browser.get(answer.next_request.url)
    assert then.status_code == 200
    assert str(then.url).endswith("/tradeoff?run=three+%26+%C3%A9&pin=a&pin=b")
    for path in ("/", "/_stcore/health", "/_stcore/metrics"):
        assert browser.get(path).status_code == 200


def test_over_https_the_cookie_stays_there(browser):
    answer = browser.get("/", params={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["set-cookie"]


def test_no_address_leads_to_another_host(browser, address):
    answer = browser.send(browser.build_request("GET", f"{address}//evil.example/", params={"token": TOKEN}))
    assert answer.next_request.url.host == "127.0.0.1"


def test_the_websocket_needs_the_cookie(browser, address):
    stream = address.replace("http", "ws") + "/_stcore/stream"
    for query in ("", f"?token={TOKEN}"):
        with pytest.raises(InvalidStatus, match="403"):
            connect(stream + query)
    browser.get("/", params={"token": TOKEN})
    name, value = next(iter(browser.cookies.items()))
    with connect(stream, additional_headers={"Cookie": f"{name}={value}"}) as socket:
        socket.ping().wait(timeout=30)
