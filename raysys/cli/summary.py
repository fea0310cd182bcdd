"""What `raysys tune` prints when a run has ended."""

import shlex
from typing import TYPE_CHECKING

from raysys.cli import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raysys.cluster.brakes import Ended
    from raysys.store.layout import RunLayout


def print_summary(layout: "RunLayout", ended: "Ended", json: bool) -> None:
    """The front, what was spent, how it ended, and what to do next."""
    from raysys.cli.front import print_front
    from raysys.records import TrialStatus
    from raysys.store.points import front_json, run_front
    from raysys.store.reader import read_run
    from raysys.store.seconds import seconds_by, shares

    snapshot, quoted = read_run(layout), shlex.quote(layout.location)
    front = front_json(snapshot, run_front(snapshot))
    counts = snapshot.counts()
    seconds = seconds_by(snapshot.reports)
    if json:
        states = ("finished", "stopped", "failed", "running", "pending", "interrupted")
        queries = {"charged": snapshot.charged, "executed": snapshot.manifest.executed}
        trials = {state: counts.get(state, 0) for state in states}  # type: ignore[call-overload]
        output.print_json(
            {
                "run": snapshot.path,
                "state": ended.state.value,
                "trials": trials,
                "queries": queries,
                "cost": snapshot.manifest.cost,
                "seconds_by": seconds,
                "hypervolume": front["hypervolume"],
                "front": front["points"],
            }
        )
    else:
        print_front(front)
        told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        price = snapshot.manifest.price
        cost = f"; at {price:g} USD each: {snapshot.manifest.cost:,.2f} USD" if price else ""
        output.result(f"trials: {told}; queries charged: {snapshot.charged:,}, evaluation included{cost}")
        if stopped := counts[TrialStatus.STOPPED]:
            saved = f"{snapshot.unspent:,} queries of their budgets were not spent"
            output.result(f"early stopping: {stopped} trial(s) were stopped, {saved}")
        if told := shares(seconds):
            output.result(f"time of the trials: {told}")
    for error, count in snapshot.failures().items():
        output.warning(f"{count} trial(s) failed: {error}", hint=f"raysys show {quoted}")
    for uid, note in snapshot.notes().items():
        output.warning(f"{uid} {note}")
    if ended.reason:
        output.note(f"ended early: {ended.reason}")
    output.note(
        f"Results   {layout.location}",
        f"Look      raysys dashboard {shlex.quote(layout.storage)}",
        f"Check     raysys audit {quoted}",
        f"Continue  raysys tune --resume {quoted}{_further(ended, snapshot.manifest.caps)}",
    )


def _further(ended: "Ended", caps: "Mapping[str, float]") -> str:
    """What a resume needs besides: more trials for a finished run, larger caps for one that spent its own."""
    from raysys.cluster.caps import doubled

    if ended.spent:
        return f" {doubled(caps)}"
    return "" if ended.exit_code else " --extend 10"
