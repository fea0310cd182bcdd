"""`raysys importance`: which parameters decide, and where the front lies."""

from collections.abc import Sequence
from statistics import median_low
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysys.cli import output

if TYPE_CHECKING:
    from raysys.records import Scalar
    from raysys.space.schema import Parameter


def importance(
    run: Annotated[str, typer.Argument(help="the run's folder or URI")],
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show what decides each objective (PED-ANOVA), and the parameters' ranges on the final front."""
    from raysys.records import TrialStatus
    from raysys.search.importance import importances, values_of
    from raysys.space.load import from_json
    from raysys.store.points import member_uids, run_front
    from raysys.store.reader import read_run

    snapshot = read_run(run)
    space, records = from_json(snapshot.manifest.space), snapshot.records()
    found = importances(space, records)
    finished = values_of(space, [one for one in records if one.status is TrialStatus.FINISHED])
    of = {record.uid: record for record in records}
    members = member_uids(snapshot, run_front(snapshot))
    front = values_of(space, [of[uid] for uids in members for uid in uids])
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "importance": {objective: one.shares.get(name) for objective, one in found.items()},
            "trials": len(finished[name]),
            "prior": parameter.model_dump(exclude={"option", "when"}),
            "front": _summary(parameter, front[name]),
        }
        for name, parameter in space.parameters.items()
    ]
    score = snapshot.manifest.score
    parameters.sort(key=lambda one: -(one["importance"][score] or 0))
    if json:
        objectives = {
            name: {"trials": one.trials, "best": one.best, "why": one.why} for name, one in found.items()
        }
        output.print_json({"run": snapshot.path, "objectives": objectives, "parameters": parameters})
        return
    if not parameters:
        output.note("this run searches no parameter")
        return
    output.table(
        ("parameter", *found, "trials", "prior", "on the front"),
        [
            (
                one["name"],
                *(None if share is None else f"{share:.0%}" for share in one["importance"].values()),
                one["trials"],
                _prior(one["prior"]),
                _front(one["prior"], one["front"]),
            )
            for one in parameters
        ],
    )
    for name, one in found.items():
        told = (
            one.why or f"the values of the best {one.best} finished trials against those of all {one.trials}"
        )
        output.result(f"{name}: {told}")


def _summary(parameter: "Parameter", values: "Sequence[Scalar]") -> dict[str, Any] | None:
    """What values a parameter took: how often each choice, in their order; or least, median and greatest."""
    if not values:
        return None
    if parameter.type == "categorical":
        return {"counts": [values.count(choice) for choice in parameter.choices]}
    return {"low": min(values), "median": median_low(values), "high": max(values)}


def _prior(prior: dict[str, Any]) -> str:
    if "choices" in prior:
        return ", ".join(map(str, prior["choices"]))
    return f"{prior['low']:g} .. {prior['high']:g}" + (" log" if prior["log"] else "")


def _front(prior: dict[str, Any], front: dict[str, Any] | None) -> str:
    if front is None:
        return "-"
    if "counts" in front:
        told = zip(prior["choices"], front["counts"], strict=True)
        return ", ".join(f"{choice} x{count}" for choice, count in told if count)
    return " .. ".join(f"{front[key]:.4g}" for key in ("low", "median", "high"))
