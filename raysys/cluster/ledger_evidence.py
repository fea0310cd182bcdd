"""What the ledger alone tells an audit: for the command, a resume and the dashboard. No torch, no Ray."""

from collections.abc import Iterable, Mapping

from raysys.store.audit import AuditResult, Counted, Evidence, audit
from raysys.store.manifest import RunState
from raysys.store.reader import Snapshot
from raysys.teacher.ledger import Ledger


def of_ledger(
    ledger: Ledger,
    settled: Iterable[str],
    checkpoints: Mapping[str, tuple[int, int]] | None = None,
    counted: Counted | None = None,
) -> Evidence:
    """What the ledger tells, with the rest of the evidence: see `Evidence`."""
    accounts = ledger.accounts()
    requests = {uid: {s: key.images for s, key in ledger.charges(uid).items()} for uid in accounts}
    asked_again = {uid: again for uid in accounts if (again := ledger.asked_again(uid))}
    return Evidence(accounts, frozenset(settled), requests, asked_again, checkpoints or {}, counted)


def audit_ledger(snapshot: Snapshot, ledger: Ledger) -> AuditResult:
    """Compare a run's tables with a ledger that was read after them; checkpoints and server are not asked."""
    running = snapshot.manifest.state is RunState.RUNNING  # then a trial may have begun meanwhile
    return audit(snapshot, of_ledger(ledger, () if running else ledger.accounts()))
