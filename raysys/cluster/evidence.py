"""What an audit compares, gathered from a run that may still be going on."""

from collections.abc import Callable
from pathlib import Path

import httpx

from raysys.cluster.http_teacher import http_source
from raysys.cluster.plan import check_space
from raysys.errors import RaysysError
from raysys.space.load import from_json
from raysys.store.audit import Counted, Evidence
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest
from raysys.store.reader import Snapshot, read_run
from raysys.teacher.counter import read_counter
from raysys.teacher.http_link import is_loopback
from raysys.teacher.journal import read_ledger


def gather(run: str | Path, ask_server: bool, say: Callable[[str], None]) -> tuple[Snapshot, Evidence]:
    """The run's tables, and the rest of the evidence. Raises CorruptRunError.

    A server that is not on this machine is asked with `ask_server` only: the run may be somebody else's, and
    the API key would go wherever its files say.

    The order matters while trials go on: what is charged now was counted before, what was counted is sent by
    the time that the ledger is read again, and a report follows its charges.
    """
    layout = RunLayout.open(run)
    snapshot = read_run(layout)
    earlier = read_ledger(layout.ledger, layout.filesystem).accounts()
    images = _counter(snapshot.manifest, ask_server, say)
    snapshot = read_run(layout)
    checkpoints = _checkpoints(layout, snapshot)
    ledger = read_ledger(layout.ledger, layout.filesystem)
    accounts = ledger.accounts()
    requests = {uid: {s: key.images for s, key in ledger.charges(uid).items()} for uid in accounts}
    asked_again = {uid: again for uid in accounts if (again := ledger.asked_again(uid))}
    charged = sum(account.charged for account in earlier.values())
    counted = None if images is None else Counted(images, charged)
    return snapshot, Evidence(accounts, frozenset(earlier), requests, asked_again, checkpoints, counted)


def _counter(manifest: Manifest, ask_server: bool, say: Callable[[str], None]) -> int | None:
    """What the server of a teacher behind HTTP counted for this run, if it has a counter."""
    if not manifest.space.get("teacher", {}).get("http"):
        return None
    url = manifest.space["teacher"]["http"]["url"]
    if not ask_server and not is_loopback(httpx.URL(url).host):
        say(f"the server's own counter was not compared: --server asks {url}")
        return None
    try:
        space = from_json(manifest.space)
        source = http_source(space, check_space(space), manifest.id)
        images = None if source is None else read_counter(source)
    except RaysysError as error:
        say(f"the server's own counter was not compared: {error.what}")
        return None
    if images is None:
        say(f"the server at {url} has no counter of its own, or is away: not compared")
    return images


def _checkpoints(layout: RunLayout, snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """(requests, queries) of each trial that has a saved state."""
    found: dict[str, tuple[int, int]] = {}
    if not (layout.root / "checkpoints").exists():
        return found
    from raysys.cluster.trial_files import TrialFiles  # reading a state takes torch; most runs have none left

    for uid in snapshot.trials["uid"].to_pylist():
        position = TrialFiles(layout, uid).position()
        if position is not None:
            found[uid] = position
    return found
