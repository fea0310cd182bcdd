"""How many queries a search takes to reach the hypervolume that random search ends with.

    python tests/benchmarks/search.py --on digits,mnist --seeds 10            # on stored landscapes
    python tests/benchmarks/search.py --on live --seeds 5 --trials 40         # real trials of digits

One trial at a time. Each search spends at most what random search spent; `ratio` is the share of it after
which its final front had random search's last hypervolume (inf: never). On the final front are finished
trials only, but for Ray Tune's `OptunaSearch` with `ASHAScheduler`, which cannot tell them from stopped ones:
there all are. `--until-reached` ends each search there.
"""

import argparse
import math
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import optuna

sys.path.insert(0, str(Path(__file__).parent))

from landscape import Landscape, Told

from raysys.cluster.plan import FLOOR
from raysys.fronts.hypervolume import Reference, hypervolume, scaled_costs
from raysys.records import TrialStatus
from raysys.search.query_asha import QueryAsha, milestones
from raysys.search.samplers import distribution
from raysys.search.study_searcher import StudySearcher
from raysys.space.schema import Space


class Problem(Protocol):
    """What is searched: a landscape, or real trials."""

    space: Space
    reference: Reference

    def run(self, values: Any, seed: int, goes_on: Callable[[Told], bool]) -> Told:
        """The last report of a trial, which `goes_on` is asked about at each of its milestones."""
        ...


@dataclass(frozen=True)
class Spent:
    """One more trial: its queries, and its point where it counts on the final front."""

    queries: int
    point: tuple[int, float] | None
    stopped: bool = False


Search = Callable[[Problem, int], Iterator[Spent]]


def raysys(problem: Problem, seed: int, sampler: str = "tpe", stopping: bool = True) -> Iterator[Spent]:
    """`raysys tune` as it is; the space says how many trials are planned."""
    floor = FLOOR * problem.reference.accuracy
    study = StudySearcher(problem.space, sampler, seed, floor)  # type: ignore[arg-type]
    asha = QueryAsha(rungs(problem.space) if stopping else ())
    while True:
        suggestion = study.ask()
        uid, budget = suggestion.uid, int(suggestion.values["query_budget"])

        def goes_on(told: Told, uid: str = uid, budget: int = budget) -> bool:
            decision = asha.report(uid, budget, told.queries, told.score, True)
            return decision is None or decision.goes_on

        last = problem.run(suggestion.values, trial_number(seed, suggestion.number), goes_on)
        if last.last:
            asha.ended(uid, last.queries, last.score)
            objectives = {"val_accuracy": last.score, "queries": float(last.queries)}
            study.tell(uid, TrialStatus.FINISHED, objectives)
            yield Spent(last.queries, (last.queries, last.score))
        else:
            study.tell(uid, TrialStatus.STOPPED, {})
            yield Spent(last.queries, None, True)


def random_search(problem: Problem, seed: int) -> Iterator[Spent]:
    """All parameters at random, nothing stopped."""
    return raysys(problem, seed, "random", stopping=False)


def without_stopping(problem: Problem, seed: int) -> Iterator[Spent]:
    """`raysys tune --scheduler none`."""
    return raysys(problem, seed, stopping=False)


def optuna_alone(problem: Problem, seed: int) -> Iterator[Spent]:
    """Optuna's sampler for several objectives, as it comes."""
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.TPESampler(seed=seed)
    )
    while True:
        trial = study.ask()
        values = drawn(problem.space, trial)
        last = problem.run(values, trial_number(seed, trial.number), lambda told: True)
        study.tell(trial, [last.score, last.queries])
        yield Spent(last.queries, (last.queries, last.score))


def ray_tune(problem: Problem, seed: int) -> Iterator[Spent]:
    """Ray Tune's own `OptunaSearch` and `ASHAScheduler`, told the same reports, without a cluster."""
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    at = rungs(problem.space)
    search = OptunaSearch(
        lambda trial: drawn(problem.space, trial) and None,
        metric=["val_accuracy", "queries"],
        mode=["max", "min"],
        seed=seed,
    )
    asha = ASHAScheduler(
        time_attr="queries",
        metric="val_accuracy",
        mode="max",
        max_t=problem.reference.queries + 1,
        grace_period=at[0],
        reduction_factor=2,
        stop_last_trials=False,
    )
    number = 0
    while True:
        trial: Any = SimpleNamespace(trial_id=f"{number:05d}")
        values = search.suggest(trial.trial_id)
        asha.on_trial_add(None, trial)

        def goes_on(told: Told, trial: Any = trial) -> bool:
            return asha.on_trial_result(None, trial, result_of(told)) != "STOP"

        told = problem.run(values, trial_number(seed, number), goes_on)
        asha.on_trial_complete(None, trial, result_of(told))
        search.on_trial_complete(trial.trial_id, result_of(told))
        yield Spent(told.queries, (told.queries, told.score), not told.last)
        number += 1


SEARCHES: dict[str, Search] = {
    "Optuna alone": optuna_alone,
    "Ray Tune: OptunaSearch + ASHA": ray_tune,
    "raysys --scheduler none": without_stopping,
    "raysys": raysys,
}


def result_of(told: Told) -> dict[str, float]:
    """A report as Ray Tune takes it."""
    return {"val_accuracy": told.score, "queries": told.queries}


def rungs(space: Space) -> tuple[int, ...]:
    """The milestones that `raysys tune` would use."""
    budgets: Any = space.parameters["query_budget"]
    return milestones(budgets.low, budgets.high)


def trial_number(seed: int, number: int) -> int:
    """A seed that no other trial of the benchmark has."""
    return (seed << 24) + number


def drawn(space: Space, trial: Any) -> dict[str, Any]:
    """A config of the space as a user of Optuna would draw it."""
    values: dict[str, Any] = {}
    for name, parameter in space.ordered():
        if space.is_active(name, values):
            known: Any = distribution(parameter)
            if parameter.type == "categorical":
                values[name] = trial.suggest_categorical(name, known.choices)
            else:
                suggest = trial.suggest_int if parameter.type == "int" else trial.suggest_float
                values[name] = suggest(name, known.low, known.high, step=known.step, log=known.log)
    return values


@dataclass(frozen=True)
class Track:
    """A search's hypervolume after each trial, and the queries of all trials until then."""

    queries: list[int]
    hypervolume: list[float]
    stopped: int

    def reaches(self, level: float) -> float:
        """Queries after which the hypervolume was at `level`; inf if it never was."""
        pairs = zip(self.queries, self.hypervolume, strict=True)
        return next((queries for queries, volume in pairs if volume >= level), math.inf)


def track(
    search: Iterator[Spent],
    reference: Reference,
    trials: float = math.inf,
    queries: float = math.inf,
    level: float = math.inf,
) -> Track:
    """Follow a search for so many trials or queries, or until its hypervolume is at `level`."""
    spent, volumes, points, stopped = [0], [0.0], [], 0
    for one in search:
        if one.point is not None:
            points.append(one.point)
        volume = hypervolume(scaled_costs(*zip(*points, strict=True), reference)) if points else 0.0
        spent.append(spent[-1] + one.queries)
        volumes.append(volume)
        stopped += one.stopped
        if len(spent) > trials or spent[-1] >= queries or volume >= level:
            break
    return Track(spent[1:], volumes[1:], stopped)


def one_seed(
    make: Callable[[], Problem], names: Sequence[str], trials: int, reached: bool, seed: int
) -> list[Track]:
    """Random search's track and each search's, with one seed."""
    quiet()
    problem = make()
    problem.space = problem.space.model_copy(update={"trials": trials})
    random = track(random_search(problem, seed), problem.reference, trials)
    most, level = random.queries[-1], random.hypervolume[-1]
    return [
        random,
        *(
            track(
                SEARCHES[name](problem, seed),
                problem.reference,
                queries=most,
                level=level if reached else math.inf,
            )
            for name in names
        ),
    ]


def compare(
    make: Callable[[], Problem], seeds: int, trials: int, names: Sequence[str], reached: bool, processes: int
) -> None:
    """Print one line a search."""
    with ProcessPoolExecutor(processes) as pool:
        found = list(pool.map(partial(one_seed, make, names, trials, reached), range(seeds)))
    queries = statistics.mean(tracks[0].queries[-1] for tracks in found)
    volumes = [tracks[0].hypervolume[-1] for tracks in found]
    print(f"random search: {trials} trials, {queries:,.0f} queries, hypervolume {spread(volumes)}")
    for index, name in enumerate(names, start=1):
        own = [tracks[index] for tracks in found]
        ratios = [
            one.reaches(t[0].hypervolume[-1]) / t[0].queries[-1] for one, t in zip(own, found, strict=True)
        ]
        each = " ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
        stopped = statistics.mean(one.stopped / len(one.queries) for one in own)
        made = statistics.mean(len(one.queries) for one in own)
        volumes = [one.hypervolume[-1] for one in own]
        print(f"{name}: ratio {statistics.median(ratios):.2f} ({each})")
        print(
            f"    {made:.0f} trials, {stopped:.0%} stopped; hypervolume in the end {spread(volumes)}",
            flush=True,
        )


def quiet() -> None:
    """Optuna and Ray have much to tell."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation."""
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else 0:.4f}"


def live() -> Problem:
    """Real trials."""
    from live_trials import Live

    return Live()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--on", default="digits,mnist", help="landscapes, or live")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100, help="of random search")
    parser.add_argument("--searches", default=",".join(SEARCHES))
    parser.add_argument("--until-reached", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    for name in asked.on.split(","):
        if name != "live":
            landscape = Landscape(name)
            print(
                f"\nlandscape {name}: {landscape.trials} real trials, R2 on others {landscape.r2:.2f}",
                flush=True,
            )
        make = live if name == "live" else partial(Landscape, name)
        compare(
            make, asked.seeds, asked.trials, asked.searches.split(","), asked.until_reached, asked.processes
        )


if __name__ == "__main__":
    main()
