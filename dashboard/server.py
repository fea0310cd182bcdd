"""`python -m dashboard.server STORAGE HOST PORT URL OPEN TOKEN_FILE`, as `raysys dashboard` starts it."""

import gc
import sys
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pandas as pd  # noqa: F401
import plotly.graph_objects as go
import streamlit as st
from starlette.middleware import Middleware

from dashboard.gate import Gate

_SCRIPT = Path(__file__).with_name("app.py")

_OPTIONS = {
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.disconnectedSessionTTL": 30,  # a session that is gone keeps its snapshots that long
    "server.showEmailPrompt": False,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "logger.hideWelcomeMessage": True,
    "runner.magicEnabled": False,  # a docstring of a constant is no output
    "theme.light.primaryColor": "#0072B2",  # the front's blue; in the dark its lighter sister
    "theme.dark.primaryColor": "#2B8CC9",
}
"""How the page is served: nothing is sent anywhere, nothing is watched."""


def settle() -> None:
    """Take what is loaded now out of what each full collection of garbage looks at: it takes 0.2 s."""
    go.Figure(go.Scatter())  # loads its classes
    gc.collect()
    gc.freeze()


def serve(storage: str, host: str, port: int, url: str, open_browser: bool, token: str | None) -> None:
    """Serve the dashboard until SIGINT or SIGTERM."""

    settle()

    @asynccontextmanager
    async def told(_app: st.App) -> AsyncIterator[None]:
        print(f"The dashboard of {storage}: {url}", "Ctrl-C ends it.", sep="\n", flush=True)
        if open_browser:
            webbrowser.open(url)
        yield

    options = {**_OPTIONS, "server.address": host, "server.port": port}
    if token is None:
        options["server.allowedHosts"] = ["localhost", "127.0.0.1", "::1"]  # against DNS rebinding
    else:
        options["client.showErrorDetails"] = "none"
    gate = [] if token is None else [Middleware(Gate, token=token)]
    sys.argv = [str(_SCRIPT), storage]
    st.App(_SCRIPT, lifespan=told, middleware=gate).run(config=options)


if __name__ == "__main__":
    storage, host, port, url, open_browser, token_file = sys.argv[1:]
    token = Path(token_file).read_text().strip() if token_file else None
    serve(storage, host, int(port), url, open_browser == "open", token)
