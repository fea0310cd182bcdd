"""What an audit compares, gathered from a run that may still be going on."""

from collections.abc import Callable
from pathlib import Path

import httpx

from raysys.cluster.http_teacher import http_source
from raysys.cluster.ledger_evidence import of_ledger
from raysys.cluster.plan import check_space
from raysys.errors import RaysysError
from raysys.files import list_folder
from raysys.space.load import apply_overrides, from_json
from raysys.store.audit import Counted, Evidence
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest
from raysys.store.reader import Snapshot, read_run
from raysys.teacher.counter import read_counter
from raysys.teacher.http_link import is_loopback
from raysys.teacher.journal import read_accounts, read_ledger


def gather(run: str | Path, teacher_url: str | None, say: Callable[[str], None]) -> tuple[Snapshot, Evidence]:
    """The run's tables, and the rest of the evidence. Raises CorruptRunError.

    The server's counter is asked at `teacher_url`, or where the run says, if that is this machine: the run
    may be somebody else's, and the API key would go wherever its files say.

    The order matters while trials go on: what is charged now was counted before, what was counted is sent by
    the time that the ledger is read again, and a report follows its charges.
    """
    layout = RunLayout.open(run)
    snapshot = read_run(layout)
    earlier = read_accounts(layout.ledger, layout.filesystem)
    images = _counter(snapshot.manifest, teacher_url, say)
    snapshot = read_run(layout)
    checkpoints = _checkpoints(layout, snapshot)
    ledger = read_ledger(layout.ledger, layout.filesystem)
    charged = sum(account.charged for account in earlier.values())
    counted = None if images is None else Counted(images, charged)
    return snapshot, of_ledger(ledger, earlier, checkpoints, counted)


def _counter(manifest: Manifest, teacher_url: str | None, say: Callable[[str], None]) -> int | None:
    """What the server of a teacher behind HTTP counted for this run, if it has a counter."""
    if not manifest.space.get("teacher", {}).get("http"):
        return None
    url = teacher_url or manifest.space["teacher"]["http"]["url"]
    try:
        if teacher_url is None and not is_loopback(httpx.URL(url).host):
            say(f"the server's own counter was not compared: --teacher-url {url} asks it")
            return None
        space = apply_overrides(from_json(manifest.space), {"teacher.http.url": url}, source="--teacher-url")
        source = http_source(space, check_space(space), manifest.id)
        images = None if source is None else read_counter(source)
    except (RaysysError, httpx.InvalidURL) as error:
        say(f"the server's own counter was not compared: {str(error).partition(chr(10))[0]}")
        return None
    if images is None:
        say(f"the server at {url} has no counter of its own, or is away: not compared")
    return images


def _checkpoints(layout: RunLayout, snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """(requests, queries) of each trial that has a saved state."""
    found: dict[str, tuple[int, int]] = {}
    uids = {info.base_name for info in list_folder(layout.filesystem, layout.root / "checkpoints")}
    if not uids:
        return found
    from raysys.cluster.trial_files import TrialFiles  # reading a state takes torch; most runs have none left

    for uid in sorted(uids & set(snapshot.trials["uid"].to_pylist())):
        position = TrialFiles(layout, uid).position()
        if position is not None:
            found[uid] = position.requests, position.queries
    return found
