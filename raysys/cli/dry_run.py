"""`raysys tune --dry-run`: what a run would do. Nothing is written, no Ray is started, nobody is asked."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raysys.cli import output

if TYPE_CHECKING:
    from raysys.cluster.search_plan import Search
    from raysys.cluster.worst_case import WorstCase
    from raysys.search.study_searcher import Suggestion
    from raysys.space.schema import Space
    from raysys.store.layout import RunLayout

CONFIGS = 5


def show_plan(
    space: "Space",
    layout: "RunLayout",
    search: "Search",
    concurrent: int | None,
    pack: int | None,
    address: str,
    json: bool,
) -> None:
    """Print the first configs that a run would try, and the most that it would take.

    `pack` None: as many trials share a place as its GPU takes, which only the run finds out.
    """
    from raysys.cluster.caps import run_caps
    from raysys.cluster.early_stopping import plan_stopping
    from raysys.cluster.warm_start import earlier_trials
    from raysys.cluster.worst_case import trials_like, worst_case
    from raysys.search.study_searcher import StudySearcher

    caps = run_caps(space, search.max_queries, search.max_cost)
    scheduler, milestones = plan_stopping(space, search.scheduler)
    earlier = earlier_trials(space, search.warm_start, output.note)
    study = StudySearcher(space, search.sampler, search.seed, earlier=earlier)
    samples = [study.ask() for _ in range(min(CONFIGS, space.trials))]
    if pack is None and not space.resources.gpus_per_trial:
        pack = 1
    at_once = _at_once(space, concurrent, pack, address)
    worst = worst_case(space, caps, trials_like(layout.storage, space), at_once)
    if json:
        told = {name: getattr(worst, name) for name in ("queries", "held_out", "cost", "seconds")}
        configs = [{"uid": one.uid, "values": dict(one.values)} for one in samples]
        early = {"scheduler": scheduler, "milestones": list(milestones)}
        output.print_json({"run": layout.location, "configs": configs, **early, "worst_case": told})
        return
    _show_samples(samples)
    _show_worst(space, worst, caps)
    _show_time(space, worst, at_once, layout.storage)
    if milestones:
        at = ", ".join(f"{queries:,}" for queries in milestones)
        output.result(f"early stopping: trials that lag at {at} queries are stopped")
    if search.seeds > 1 and space.parameters:
        output.result(f"seeds: configs on the front get {search.seeds} of the {space.trials} trials each")
    held = space.resources
    together = f"{pack} trials" if pack else "as many trials as a GPU takes"
    who = "trial" if pack == 1 else f"pack of {together}"
    output.result(
        f"each {who} holds {held.cpus_per_trial:g} CPU and {held.gpus_per_trial:g} GPU",
        f"results would go to {layout.location}; nothing was written",
    )


def _at_once(space: "Space", asked: int | None, pack: int | None, address: str) -> int:
    """How many trials would run at once here; on a cluster, which is not asked, `asked` or one."""
    from raysys.cluster.ray_cluster import Places
    from raysys.errors import UnreachableError

    if address != "local":
        return asked or 1
    there = {"CPU": os.cpu_count() or 1, "GPU": 0}
    if space.resources.gpus_per_trial:
        import torch

        there["GPU"] = torch.cuda.device_count()
    networks = 0 if space.teacher.http else space.teacher.replicas
    try:
        places = Places(space.resources, asked, False, networks, lambda: [there])
        places.check()
        places.pack = pack or 1
        return places.count
    except UnreachableError as error:
        output.warning(error.what, f"{error.why}, if this is where it will run", error.hint)
        return 1


def _show_samples(samples: "Sequence[Suggestion]") -> None:
    keys = list(dict.fromkeys(key for sample in samples for key in sample.values))
    columns = ("parameter", *(sample.uid for sample in samples))
    output.table(columns, [(key, *(_cell(s.values.get(key)) for s in samples)) for key in keys])


def _cell(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _show_worst(space: "Space", worst: "WorstCase", caps: Mapping[str, float]) -> None:
    from raysys.cluster.caps import told
    from raysys.cluster.plan import budget_range

    low, high = budget_range(space)
    most = worst.held_out
    held_out = "the held-out images" if most is None else f"at most {most:,} held-out images"
    output.result(
        f"{space.trials} trials of {low:,} to {high:,} queries each:"
        f" at most {space.trials * high:,} queries, and {held_out} once"
    )
    if worst.cost is not None:
        without = "" if most else ", held-out images not counted"
        output.result(f"at {space.price:g} USD a query: at most {worst.cost:,.2f} USD{without}")
    if caps:
        output.result(f"the run's cap: {told(caps)}, all included")


def _show_time(space: "Space", worst: "WorstCase", at_once: int, storage: str) -> None:
    from raysys.cluster.progress import duration

    if worst.trial_seconds is None:
        output.result(
            f"time not known: no finished trial of {space.method} with {space.student} on {space.dataset},"
            f" {space.response} labels, in {storage}; raysys trial, with the same options, makes one"
        )
    elif worst.seconds is not None:
        output.result(
            f"at most {duration(math.ceil(worst.trial_seconds))} a trial,"
            f" {duration(math.ceil(worst.seconds))} in all with {at_once} at once,"
            f" if no query takes longer than in the slowest of {worst.judged_by} earlier trials"
        )
    if space.teacher.http and (rate := space.teacher.http.queries_per_second):
        least = duration(math.ceil(worst.queries / rate))
        output.result(f"the teacher is asked {rate:g} queries a second: {least} for all of them")
