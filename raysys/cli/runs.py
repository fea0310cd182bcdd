"""`raysys ls` and `raysys show`: the runs in a storage, and one of them."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from raysys.cli import output
from raysys.cli.front import print_front
from raysys.records import TrialStatus

if TYPE_CHECKING:
    from raysys.store.driver import Driver
    from raysys.store.layout import RunLayout
    from raysys.store.reader import Snapshot

Storage = Annotated[
    str, typer.Argument(envvar="RAYSYS_STORAGE", help="the folder or URI that holds the runs")
]
_WATCH_SECONDS = 2.0


def ls(
    storage: Storage = "runs", json: Annotated[bool, typer.Option("--json", help="print JSON")] = False
) -> None:
    """List the runs in a storage, newest first."""
    from raysys.store.layout import RunLayout
    from raysys.store.runs import discover
    from raysys.teacher.accounts import Charged, charged, quick_accounts

    found = discover(storage)
    spent = []
    for run in found:
        if run.state is None or run.state.settled:
            spent.append(Charged(run.charged))
        else:
            layout = RunLayout.open(run.path)
            spent.append(charged(run.charged, quick_accounts(layout.ledger, layout.filesystem)))
    if json:
        rows = [
            {
                "name": run.name,
                "run": run.path,
                "problem": run.problem,
                "state": run.state,
                "alive": run.alive,
                "space": run.space,
                "created": run.created,
                "updated": run.updated and run.updated.isoformat(),
                "trials": dict(run.counts),
                "queries": {"charged": queries.queries, "exact": queries.exact},
                "front": run.front,
                "hypervolume": run.hypervolume,
            }
            for run, queries in zip(found, spent, strict=True)
        ]
        output.print_json({"runs": rows})
        return
    if not found:
        output.note(f"no runs in {storage}; start one: raysys tune --space digits")
        return
    output.table(
        ("run", "state", "space", "trials", "charged", "front", "hypervolume", "updated (UTC)"),
        [
            (
                run.name,
                run.problem or run.told_state,
                run.space,
                _short_counts(run.counts),
                str(queries),
                run.front,
                f"{run.hypervolume:.3f}",
                run.updated and f"{run.updated:%Y-%m-%d %H:%M}",
            )
            for run, queries in zip(found, spent, strict=True)
        ],
    )


def show(
    run: Annotated[str, typer.Argument(help="the run's folder or URI")],
    watch: Annotated[bool, typer.Option("--watch", help="show it again until the run ends")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="print JSON (with --watch: one object a line)")
    ] = False,
) -> None:
    """Show a run: its state, trials, queries, front and failures."""
    from raysys.store.driver import read_driver
    from raysys.store.layout import RunLayout
    from raysys.store.manifest import RunState
    from raysys.store.reader import last_change, read_run

    layout = RunLayout.open(run)
    while True:
        snapshot, driver = read_run(layout), read_driver(layout)
        alive = _alive(driver)  # before it is shown: a death during that is still to be told
        _show(layout, snapshot, driver, json)
        if not watch or snapshot.manifest.state != RunState.RUNNING or not alive:
            return
        while last_change(layout) == snapshot.updated and _alive(read_driver(layout)):
            time.sleep(_WATCH_SECONDS)


def _show(layout: "RunLayout", snapshot: "Snapshot", driver: "Driver | None", json: bool) -> None:
    from raysys.cluster.caps import told
    from raysys.distill.options import described
    from raysys.store.health import health
    from raysys.store.manifest import RunState
    from raysys.store.points import front_json, run_front
    from raysys.store.seconds import seconds_by, shares
    from raysys.teacher.accounts import charged, quick_accounts

    manifest = snapshot.manifest
    front = front_json(snapshot, run_front(snapshot))
    accounts = quick_accounts(layout.ledger, layout.filesystem)
    findings = health(snapshot, driver, accounts)
    spent = charged(snapshot.charged, {} if manifest.state.settled else accounts)
    seconds = seconds_by(snapshot.reports)
    if json:
        messages = {
            "failures": snapshot.failures(),
            "notes": snapshot.notes(),
            "health": [asdict(one) for one in findings],
        }
        queries = {"charged": spent.queries, "exact": spent.exact, "executed": manifest.executed}
        state = {"state": manifest.state, "trials": snapshot.counts(), "queries": queries}
        rest = {"skipped_parts": snapshot.skipped, "seconds_by": seconds}
        works = driver and {**driver.model_dump(mode="json", exclude={"token"}), "alive": driver.alive}
        output.print_json({**front, **state, **messages, "driver": works, **rest})
        return
    caps, method = told(manifest.caps), described(manifest.method)
    rows = [
        ("run", f"{snapshot.path}  ({manifest.state})"),
        ("space", f"{manifest.space.get('name', '')}, {method}, {manifest.response} responses"),
        ("trials", _short_counts(snapshot.counts()) + f" of {manifest.trials}"),
        ("queries", f"{spent} charged" + (f", the cap is {caps}" if caps else "")),
        ("front", f"{len(front['points'])} points, hypervolume {front['hypervolume']:.3f}"),
        ("updated", f"{snapshot.updated:%Y-%m-%d %H:%M:%S} UTC"),
    ]
    if manifest.state == RunState.RUNNING:
        rows.insert(1, ("driver", _driver_text(driver)))
    if manifest.price:
        rows.append(("cost", f"{manifest.cost:,.2f} USD, at {manifest.price:g} USD for each image sent"))
    if spent_on := shares(seconds):
        rows.append(("time of the trials", spent_on))
    if snapshot.skipped:
        rows.append(("lost", "rows of the tables, see below"))
    output.table(("", ""), rows)
    print_front(front)
    if all(one.severity == "note" for one in findings):
        output.result("healthy: no fault, no warning")
    for one in findings:
        output.result(f"{one.severity}: {one.seen}", *([f"  {one.command}"] if one.command else []))


def _alive(driver: "Driver | None") -> bool:
    return driver is not None and driver.alive


def _driver_text(driver: "Driver | None") -> str:
    """Who works on a run that says it is running."""
    if driver is None:
        return "none: raysys tune --resume goes on with it"
    if driver.alive:
        return str(driver)
    last = f"{driver.beat:%Y-%m-%d %H:%M:%S} UTC"
    return f"{driver} is dead, last heard of at {last}: raysys tune --resume goes on"


def _short_counts(counts: Mapping[TrialStatus, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)
