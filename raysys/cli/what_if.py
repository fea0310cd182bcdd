"""`raysys front RUN --what-if query-asha`: what early stopping would have saved, and lost."""

from typing import TYPE_CHECKING

from raysys.cli import output

if TYPE_CHECKING:
    from raysys.store.reader import Snapshot


def print_what_if(snapshot: "Snapshot", json: bool) -> None:
    """Replay the run's reports through the scheduler and print what it would have done."""
    from raysys.cluster.what_if import what_if

    found = what_if(snapshot)
    if json:
        output.print_json({"run": snapshot.path, **found.as_dict()})
        return
    if found.stopped:
        output.table(("uid", ""), [(uid, decision.reason) for uid, decision in found.stopped.items()])
    trials = snapshot.trials.num_rows
    before, after = found.before, found.after
    output.result(
        f"query-asha would have stopped {len(found.stopped)} of {trials} trials:"
        f" {found.saved:,} of {found.queries:,} queries saved ({found.share:.0%})",
        f"front: {len(before.members)} points, hypervolume {before.hypervolume:.4f};"
        f" then {len(after.members)} points, {after.hypervolume:.4f}",
        f"points lost: {', '.join(found.lost) or 'none'}",
    )
    if found.scheduler == "query-asha":
        output.note("the run was made with query-asha: only what it did not stop itself is left to save")
    else:
        output.note("an estimate: its trials are replayed one at a time, by uid, and none is made instead")
