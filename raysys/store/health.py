"""Is a run healthy? What was found, how bad it is, and what to do: for the terminal and the dashboard."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.errors import RaysysError
from raysys.fronts.front import Front
from raysys.records import Account, TrialStatus
from raysys.space.advice import advice
from raysys.store.audit import Evidence, audit
from raysys.store.driver import Driver
from raysys.store.manifest import NO_SAMPLER, RunState
from raysys.store.parameters import searched
from raysys.store.points import finished_trials, floats, member_uids, run_front
from raysys.store.reader import Snapshot

STALLED = timedelta(minutes=10)
"""A run that wrote nothing for so long is stalled, though its driver lives."""

_MANY_FAILED = 0.1
"""Where more of the trials that ended failed, it is a fault; `--max-failures` has the same default."""

_MOST_NAMED, _MOST_LETTERS = 3, 500
_NEAR_CHANCE, _COLLAPSED = 0.02, 0.1
"""Of a score (shares): so near chance a student knows nothing; so far below its best report it lost it."""

_FEW = 3
"""Of fewer trials or points than this, nothing is said about what all or most of them have in common."""

Severity = Literal["fault", "warning", "note"]

Accounts = Mapping[str, Account] | RaysysError | None
"""The ledger's accounts, why they cannot be read, or None where it was not tried."""


@dataclass(frozen=True)
class Finding:
    """What was `seen`, and what to do: `advice`, and the `command` that does it, where there is one.

    `fault`: the run does not go on, or its numbers cannot be relied on. `warning`: it may waste queries.
    `note`: good to know. Texts hold what runs say themselves: they are not to be rendered.
    """

    severity: Severity
    seen: str
    advice: str
    command: str = ""


class Condition(StrEnum):
    """What a run does now: its state, and of one that says it is running, whether it truly is."""

    RUNNING = "running"
    DEAD = "running, but its driver is dead"
    STALLED = "stalled"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    CAPPED = "capped"
    FAILED = "failed"


def condition(
    state: RunState, driver: Driver | None, updated: datetime, now: datetime | None = None
) -> Condition:
    """What a run in `state`, whose newest file was `updated` (UTC), does `now`, if the clocks agree."""
    if state is not RunState.RUNNING:
        return Condition(state.value)
    if driver is None or not driver.alive:
        return Condition.DEAD
    return Condition.STALLED if (now or datetime.now(UTC)) - updated > STALLED else Condition.RUNNING


def health(snapshot: Snapshot, driver: Driver | None, accounts: Accounts) -> list[Finding]:
    """All findings, the worst first. `driver` works on the run."""
    return worst_first([*life(snapshot, driver), *faults(snapshot, accounts)])


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """By severity; those of one severity in the order in which they came."""
    return sorted(findings, key=lambda one: get_args(Severity).index(one.severity))


def life(snapshot: Snapshot, driver: Driver | None) -> list[Finding]:
    """Whether somebody works on a run that says it is running, and how any other ended."""
    run, counts = _quoted(snapshot), snapshot.counts()
    open_trials = sum(count for status, count in counts.items() if not status.ended)
    of = f"{open_trials} of {snapshot.manifest.trials} trials have not ended"
    resume = f"raysys tune --resume {run}"
    match condition(snapshot.manifest.state, driver, snapshot.updated):
        case Condition.DEAD:
            last = f", last heard of at {driver.beat:%Y-%m-%d %H:%M:%S} UTC" if driver else ""
            seen = f"The run says it is running, but its driver is dead ({driver or 'none is named'}{last})."
            return [Finding("fault", seen, "Go on with it; nothing is paid for twice:", resume)]
        case Condition.STALLED:
            since = f"{snapshot.updated:%Y-%m-%d %H:%M:%S} UTC"
            seen = f"Nothing was written since {since}, though {driver} is alive."
            advice = "Its raysys.log may say why. Stop it softly, then resume it:"
            return [Finding("warning", seen, advice, f"raysys stop {run}")]
        case Condition.INTERRUPTED:
            return [Finding("warning", f"The run was stopped: {of}.", "Go on with it:", resume)]
        case Condition.CAPPED:
            caps = snapshot.manifest.caps
            larger = [f"--max-{name} {2 * caps[name]:.12g}" for name in ("queries", "cost") if name in caps]
            return [
                Finding(
                    "note", f"A cap ended the run: {of}.", "A larger one lets it go on:",
                    " ".join([resume, *larger]),
                )
            ]  # fmt: skip
        case Condition.FAILED:
            seen = "The run failed: too many trials did, or the driver itself; its raysys.log says why."
            advice = "Mend the cause, then go on:"
            return [Finding("fault", seen, advice, f"{resume} --retry-failed")]
    return []


def faults(snapshot: Snapshot, accounts: Accounts) -> list[Finding]:
    """What the tables tell, and how they fit the ledger."""
    front = run_front(snapshot)
    found = [
        *_damage(snapshot),
        *_ledger(snapshot, accounts),
        *_failures(snapshot),
        *_unfinished(snapshot),
        *_noted(snapshot),
        *_constant(snapshot),
        *_seeds(snapshot, front),
        *_worthless(snapshot, front),
        *_bounds(snapshot),
    ]
    return [replace(one, seen=_clipped(one.seen)) for one in found]


def damage(snapshot: Snapshot) -> str:
    """What of the tables cannot be read, in a sentence; empty where nothing is wrong."""
    names = ["/".join(path.split("/")[-2:]) for path in snapshot.damaged]
    if names:
        files = f"{len(names)} files" if len(names) > 1 else "1 file"
        found = f"{files} of the tables cannot be read and are left out: {_few(names)}."
    else:
        found = "Files of the tables are missing." if snapshot.skipped else ""
    if found and not snapshot.skipped:
        return f"{found} No row is lost with them."
    return found and f"{found} Rows are lost: trials may be missing, or look as if they had not ended."


def _damage(snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.skipped:
        yield Finding(
            "fault", damage(snapshot),
            "A resume makes again what it can from the ledger's answers, which costs nothing:",
            f"raysys tune --resume {_quoted(snapshot)}",
        )  # fmt: skip
    elif snapshot.damaged:
        yield Finding("warning", damage(snapshot), "Look at the disk that they lie on.")


def _ledger(snapshot: Snapshot, accounts: Accounts) -> Iterator[Finding]:
    """By the totals of the accounts: cheap, and not image by image as the audit."""
    command = f"raysys audit {_quoted(snapshot)}"
    if accounts is None:
        seen = "The ledger was not compared with the tables: it is large, or newer than they are."
        yield Finding("note", seen, "The audit does:", command)
    elif isinstance(accounts, RaysysError):
        yield Finding("fault", f"{accounts.what}: {accounts.why}", accounts.hint)
    elif found := audit(snapshot, Evidence(accounts)).mismatches:
        seen = f"Ledger and tables disagree in {len(found)} places, first: {found[0]}."
        yield Finding("fault", seen, "The audit tells all of them:", command)


def _failures(snapshot: Snapshot) -> Iterator[Finding]:
    counts = snapshot.counts()
    ended = sum(counts[status] for status in TrialStatus if status.ended)
    if not (failed := counts[TrialStatus.FAILED]):
        return
    kinds = list(snapshot.failures().items()) or [("no error was written", failed)]
    for error, count in kinds[:_MOST_NAMED]:
        yield Finding(
            "fault" if failed > _MANY_FAILED * ended else "warning",
            f"{count} of {ended} trials that ended failed: {error}",
            "Mend the cause, then give them another chance:",
            f"raysys tune --resume {_quoted(snapshot)} --retry-failed",
        )
    if rest := kinds[_MOST_NAMED:]:
        seen = f"{sum(count for _, count in rest)} more trials failed in {len(rest)} other ways."
        yield Finding("warning", seen, "All of them:", f"raysys show {_quoted(snapshot)} --json")


def _unfinished(snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.counts()[TrialStatus.FINISHED]:
        return
    if snapshot.manifest.state is RunState.RUNNING:
        advice = "The front appears with the first that does; until then:"
        yield Finding(
            "note", "No trial has finished yet.", advice, f"raysys show {_quoted(snapshot)} --watch"
        )
    else:
        advice = "What the trials reported on their way:"
        command = f"raysys front {_quoted(snapshot)} --kind anytime"
        yield Finding("warning", "No trial finished: there is no final front.", advice, command)


def _noted(snapshot: Snapshot) -> Iterator[Finding]:
    """Finished trials that reached no number, and those that say something of themselves."""
    rows = finished_trials(snapshot)
    reached = floats(rows, snapshot.manifest.score)
    uids = np.array(rows["uid"].to_pylist(), dtype=object)
    lost, notes = uids[~np.isfinite(reached)].tolist(), snapshot.notes()
    advice = "What they have in common shows on the page Parameters: narrow the space there."
    if lost:
        seen = (
            f"{len(lost)} of {len(uids)} finished trials reached no number and are on no front: {_few(lost)}."
        )
        said = f" {lost[0]} {notes[lost[0]]}." if lost[0] in notes else ""
        yield Finding("warning", seen + said, advice)
    if kept := [uid for uid in notes if uid not in set(lost)]:
        seen = f"{len(kept)} finished trials have a note: {_few(kept)}. {kept[0]} {notes[kept[0]]}."
        yield Finding("note", seen, advice)


def _constant(snapshot: Snapshot) -> Iterator[Finding]:
    rows = finished_trials(snapshot)
    for name in snapshot.manifest.goal.names:
        values = floats(rows, name)
        values = values[np.isfinite(values)]
        if len(values) >= _FEW and not np.ptp(values):
            yield Finding(
                "warning" if name == snapshot.manifest.score else "note",
                f"All {len(values)} finished trials have the same {name}: {values[0]:,.6g}.",
                "Nothing that is searched changes it. What is searched:",
                f"raysys spaces {_space(snapshot)}",
            )


def _seeds(snapshot: Snapshot, front: Front) -> Iterator[Finding]:
    manifest, seeds = snapshot.manifest, front.points.seeds[front.members]
    alone = int((seeds == 1).sum())
    if not alone or manifest.sampler == NO_SAMPLER:
        return
    seen = f"Front points from one seed only: {alone} of {len(seeds)}. Part of their height is luck."
    if manifest.seeds == 1:
        advice = "A new run gives each config on the front three:"
        yield Finding("note", seen, advice, f"raysys tune --space {_space(snapshot)} --seeds 3")
    elif manifest.state is RunState.RUNNING:
        yield Finding("note", seen, f"The run gives each {manifest.seeds} while it goes on.")
    else:
        advice = f"The run ended before each got its {manifest.seeds}. More trials:"
        yield Finding("note", seen, advice, f"raysys tune --resume {_quoted(snapshot)} --extend 10")


def _bounds(snapshot: Snapshot) -> Iterator[Finding]:
    """Ranges that half of the front's points lie at one end of; a budget is no choice but the price."""
    try:
        run = searched(snapshot)
    except RaysysError:  # nobody knows what was searched: the page Parameters and `importance` say why
        return
    for name, parameter in run.parameters.items():
        front = run.values[name][run.points]
        advised = advice(parameter, front[~np.isnan(front)])
        if advised.do == "extend" and name != "query_budget":
            yield Finding(
                "note", f"The range of {name} may end too early: {advised.why}.",
                "The page Parameters says what to do with each range. The ranges:",
                f"raysys spaces {_space(snapshot)}",
            )  # fmt: skip


def _worthless(snapshot: Snapshot, front: Front) -> Iterator[Finding]:
    """Points of the front that are cheap and know nothing, and trials that lost what they had learned."""
    score, uids = snapshot.manifest.score, member_uids(snapshot, front)
    chance = snapshot.manifest.reference.accuracy
    guess = [of[0] for of, mean in zip(uids, front.score, strict=True) if mean <= chance + _NEAR_CHANCE]
    if guess:
        yield Finding(
            "note",
            f"{len(guess)} of {len(uids)} front points are at chance ({chance:.1%}) or near it:"
            f" {_few(guess)}.",
            "They are there as they are cheap. A limit in the space leaves them out, say"
            f" limits: {{{score}: {chance + 0.2:.2g}}}.",
        )
    ends = _best(finished_trials(snapshot), score)
    members = pa.array([uid for of in uids for uid in of], pa.string())
    before = _best(snapshot.reports.filter(pc.is_in(snapshot.reports["uid"], members)), score)
    lost = [uid for uid, best in before.items() if uid in ends and ends[uid] < best - _COLLAPSED]
    if lost:
        first = f"{lost[0]} had {before[lost[0]]:.1%} and ended at {ends[lost[0]]:.1%}"
        yield Finding(
            "warning",
            f"Of {len(before)} trials on the front, {len(lost)} ended far below an earlier report of"
            f" their own: {_few(lost)}. {first}.",
            "Their last passes undid what they had learned: search fewer final passes, or a lower learning"
            " rate. The page Curves shows it.",
        )


def _best(rows: pa.Table, score: str) -> dict[str, float]:
    """By uid, the highest score in its rows that is a number."""
    rows = rows.select(["uid", score]).filter(pc.is_finite(rows[score]))
    best = rows.group_by("uid").aggregate([(score, "max")])
    return dict(zip(best["uid"].to_pylist(), best[f"{score}_max"].to_pylist(), strict=True))


def _few(uids: list[str]) -> str:
    more = len(uids) - _MOST_NAMED
    return ", ".join(uids[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _quoted(snapshot: Snapshot) -> str:
    return shlex.quote(snapshot.path)


def _space(snapshot: Snapshot) -> str:
    return shlex.quote(str(snapshot.manifest.space.get("name", "")))


def _clipped(text: str) -> str:
    """What a person reads of a text that runs wrote, however long it is."""
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} ..."
