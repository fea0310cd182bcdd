"""The way to an HTTP teacher: one pooled client, what its failures mean, and patience."""

import functools
import ipaddress
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from pydantic_core import from_json

from raysys.errors import UnreachableError, UsageError
from raysys.space.schema import HttpSpec
from raysys.teacher.infer_v2 import Message

T = TypeVar("T")

MAX_BACKOFF = 30.0
"""Seconds; the waits between attempts double from 1 up to this."""

MAX_RETRY_AFTER = 300.0
"""Seconds; a server that asks for more patience than this is asked again earlier."""

KEEP_IDLE = 2.0
"""Seconds an idle connection is kept. Servers drop theirs after 5 or so; a request that is sent into one just
then is lost, and counts as sent all the same."""

ROOM = 1 << 20
"""Bytes of an answer that holds no tensors of ours, or beside them."""

REFUSAL_ROOM = 1 << 14
"""Bytes that are read of the page that comes with a refusal."""

_log = logging.getLogger(__name__)
logging.getLogger("httpcore").setLevel(logging.INFO)  # below, it repeats what a server says: maybe the key


@dataclass
class Failure(Exception):
    """One attempt that failed.

    `served`: the images may have reached the model. `again`: another attempt may succeed, after `wait`
    seconds at least. `status` is HTTP's, 0 without an answer.
    """

    why: str
    what: str = "does not answer"
    hint: str = "see that it runs, and that teacher.http says where (if it moved: --teacher-url)"
    served: bool = True
    again: bool = False
    wait: float = 0.0
    status: int = 0


@dataclass(frozen=True)
class Reply:
    """A whole answer with status 2xx, or a refusal and how its page begins."""

    status: int
    reason: str
    headers: httpx.Headers
    content: bytes


class HttpLink:
    """Requests to one server. Thread-safe. No error and no log line of it ever holds the API key."""

    def __init__(
        self,
        spec: HttpSpec,
        api_key: str | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._spec = spec
        self._key = api_key
        self._clock = clock
        self._sleep = sleep
        self._client = httpx.Client(
            # Unpacked, a small answer may be a huge one.
            headers={"Accept-Encoding": "identity"} | _authorization(spec, api_key),
            timeout=spec.timeout_s,
            limits=httpx.Limits(
                max_connections=spec.concurrency,
                max_keepalive_connections=spec.concurrency,
                keepalive_expiry=KEEP_IDLE,
            ),
            follow_redirects=False,  # the key would go along
            verify=_certificates(),
            # A proxy of the environment may be the only way to an API, but knows no way back to this machine.
            trust_env=not is_loopback(httpx.URL(spec.url).host),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def retrying(self, attempt: Callable[[], T], url: str, then: str = "") -> T:
        """`attempt` until it succeeds, with growing waits.

        Raises UnreachableError after the retries; `then` ends its hint.
        """
        number = 1
        while True:
            try:
                return attempt()
            except Failure as failure:
                why = self._without_key(failure.why)
                if not failure.again or number > self._spec.retries:
                    tries = "asked once" if number == 1 else f"asked {number} times"
                    what = f"the teacher at {url} {failure.what} ({tries})"
                    raise UnreachableError(what, why, failure.hint + then) from None
                wait = max(failure.wait, min(2.0 ** (number - 1), MAX_BACKOFF))
                _log.warning("the teacher at %s: %s; next attempt in %g s", url, why, wait)
            self._sleep(wait)
            number += 1

    def request(self, method: str, url: str, message: Message | None = None, limit: int = ROOM) -> Reply:
        """One attempt, whose answer has at most `limit` bytes and `timeout_s` in all.

        Raises Failure, also for every status but 2xx.
        """
        body, headers = message or (None, None)
        deadline = self._clock() + self._spec.timeout_s
        try:
            with self._client.stream(method, url, content=body, headers=headers) as answer:
                room = limit if answer.is_success else REFUSAL_ROOM
                content = self._read(answer, room, deadline)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            if _is_tls(error):
                hint = "check the URL; SSL_CERT_FILE names the certificates of an authority of your own"
                raise Failure(f"TLS: {error}", "is not to be trusted", hint, served=False) from None
            raise Failure(f"no connection: {error}", served=False, again=True) from None
        except httpx.TimeoutException:
            raise Failure(f"no answer within {self._spec.timeout_s:g} s", again=True) from None
        except httpx.RequestError as error:
            raise Failure(f"the connection was lost: {error}", again=True) from None
        reply = Reply(answer.status_code, answer.reason_phrase, answer.headers, content[:room])
        if not answer.is_success:
            raise self._refusal(reply)
        if len(content) > room:  # asked again it would cost again, and be as long
            hint = "does the server answer only the output that it is asked for?"
            raise Failure(f"its answer is longer than the limit of {room} bytes", "answers too much", hint)
        return reply

    def _read(self, answer: httpx.Response, room: int, deadline: float) -> bytes:
        """The body, or a little more than `room` bytes of it. A silence of `timeout_s` ends it too."""
        content = bytearray()
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > room:
                break
            if self._clock() > deadline:  # the client's own limits are for each piece
                raise httpx.ReadTimeout("too slow")
        return bytes(content)

    def said(self, reply: Reply) -> str:
        """What the server says in words: the protocol's `error`, else how its page begins."""
        try:
            text = str(from_json(reply.content)["error"])
        except (ValueError, KeyError, TypeError):
            text = reply.content.decode(errors="replace")
        return " ".join(self._without_key(text).split())[:200]

    def _refusal(self, reply: Reply) -> Failure:
        status = reply.status
        why = f"HTTP {status} {reply.reason}: {self.said(reply)}"
        if status == 429 or status >= 500:
            # A gateway's 503 may come after it sent the images on.
            return Failure(why, served=status >= 500, again=True, wait=_retry_after(reply), status=status)
        hint = Failure.hint
        if status in (301, 302, 303, 307, 308) and "Location" in reply.headers:
            why = f"HTTP {status}: it has moved to {reply.headers['Location']}"
            hint = "this is not followed, as the API key would go along: set teacher.http.url"
        elif status in (401, 403):
            state = "was refused" if self._key else "is not set"
            hint = f"the API key in ${self._spec.api_key_env} {state}"
        elif status == 404:
            hint = (
                f"is it an inference server, and has it a model {self._spec.model}?"
                " set teacher.http.model, or --teacher-model"
            )
        return Failure(why, "refused the request", hint, served=False, status=status)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def check_key(key: str, where: str) -> None:
    """Refuse an API key that no header can hold; `where` it was found. Raises UsageError."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            f"the API key in {where} cannot be used",
            "it is empty, or has blanks or characters that no key has",
            "a key is one word of ASCII text",
        )


def is_loopback(host: str) -> bool:
    """True when `host` is surely this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@functools.cache  # reading them takes tens of milliseconds
def _certificates() -> ssl.SSLContext:
    """The authorities to trust; SSL_CERT_FILE is honoured on this machine too, where `trust_env` is off."""
    return httpx.create_ssl_context()


def _authorization(spec: HttpSpec, api_key: str | None) -> dict[str, str]:
    if api_key is None:
        return {}
    bearer = "Bearer " if spec.api_key_header.lower() == "authorization" else ""
    return {spec.api_key_header: bearer + api_key}


def _is_tls(error: BaseException | None) -> bool:
    """True for a handshake that would fail again; one that was cut off may have met a restart."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return not isinstance(error, ssl.SSLEOFError)
        error = error.__cause__ or error.__context__
    return False


def _retry_after(reply: Reply) -> float:
    """Seconds; a date is compared with the server's own clock, not with ours."""
    text = reply.headers.get("Retry-After", "")
    if text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(reply.headers.get("Date", ""))
    except (ValueError, TypeError):
        return 0.0
    return min(max(wait.total_seconds(), 0.0), MAX_RETRY_AFTER)
