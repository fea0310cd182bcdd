"""What an audit compares, gathered from a run that may still be going on."""

from collections.abc import Callable
from pathlib import Path

from raysys.cluster.http_teacher import http_source
from raysys.cluster.plan import check_space
from raysys.records import Account
from raysys.space.load import from_json
from raysys.store.audit import Counted, Evidence
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest
from raysys.store.reader import Snapshot, read_run
from raysys.teacher.counter import read_counter
from raysys.teacher.journal import read_ledger


def gather(run: str | Path, say: Callable[[str], None]) -> tuple[Snapshot, Evidence]:
    """The run's tables, and the rest of the evidence. Raises CorruptRunError.

    The order matters while trials go on: what is charged now was counted before, what was counted is sent by
    the time that the ledger is read again, and a report follows its charges.
    """
    layout = RunLayout.open(run)
    snapshot = read_run(layout)
    charged = _charged(read_ledger(layout.ledger, layout.filesystem).accounts())
    images = _counter(snapshot.manifest, say)
    snapshot = read_run(layout)
    checkpoints = _checkpoints(layout, snapshot)
    ledger = read_ledger(layout.ledger, layout.filesystem)
    accounts = ledger.accounts()
    requests = {uid: {s: key.images for s, key in ledger.charges(uid).items()} for uid in accounts}
    counted = None if images is None else Counted(images, charged)
    return snapshot, Evidence(accounts, requests, checkpoints, counted)


def _charged(accounts: dict[str, Account]) -> int:
    return sum(account.charged for account in accounts.values())


def _counter(manifest: Manifest, say: Callable[[str], None]) -> int | None:
    """What the server of a teacher behind HTTP counted for this run, if it has a counter."""
    if not manifest.space.get("teacher", {}).get("http"):
        return None
    space = from_json(manifest.space)
    source = http_source(space, check_space(space), manifest.id)
    if source is None:
        return None
    images = read_counter(source)
    if images is None:
        say(f"the server at {source.spec.url} has no counter of its own, or is away: not compared")
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
