"""Who may look at a dashboard that more than this machine can reach: those who know its token."""

import hmac
from urllib.parse import urlencode

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

_REFUSED = """<!doctype html>
<html lang="en"><title>raysys</title>
<h1>This dashboard asks for a token</h1>
<p>{told}</p>
<form><label>Token <input name="token" type="password" autofocus></label> <button>Open</button></form>
<p>You have opened it here before, and came by a link? <a href="">Open it again.</a></p>
<script>
const here = new URL(location);
here.searchParams.delete("token");
history.replaceState(null, "", here);
</script>
"""
# A SameSite=Strict cookie is not sent where a page of another site leads here: the last line is for that.


class Gate:
    """Pure ASGI middleware: HTTP and websocket need the cookie that the right `?token=` once brought.

    The cookie is not the token, and neither script nor other sites get it. It lasts as long as the browser
    runs, or until the token is another.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token
        self._pass = hmac.digest(token.encode(), b"raysys dashboard", "sha256").hex()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the app answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        if scope["type"] == "http" and _same(asked.query_params.get("token", ""), self._token):
            await self._let_in(asked)(scope, receive, send)
        elif _same(asked.cookies.get(_name(asked), ""), self._pass):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            wrong = asked.query_params.get("token")
            told = "That token is not right." if wrong else "Whoever started it knows the token."
            await HTMLResponse(_REFUSED.replace("{told}", told), 401, {"Cache-Control": "no-store"})(
                scope, receive, send
            )
        else:
            await WebSocketClose(1008)(scope, receive, send)

    def _let_in(self, asked: HTTPConnection) -> Response:
        """To the same address without the token, with the cookie."""
        rest = [(name, value) for name, value in asked.query_params.multi_items() if name != "token"]
        # Only the query: no path that was asked for can lead to another host.
        answer = RedirectResponse(f"?{urlencode(rest)}", 303, {"Cache-Control": "no-store"})
        secure = asked.url.scheme == "https"
        answer.set_cookie(_name(asked), self._pass, httponly=True, samesite="strict", secure=secure)
        return answer


def _name(asked: HTTPConnection) -> str:
    """Cookies know no port: dashboards of one host must not take each other's."""
    return f"raysys-{(asked.scope.get('server') or ('', ''))[1]}"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
