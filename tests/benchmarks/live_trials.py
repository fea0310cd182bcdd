"""Real trials for `search.py`: run while it searches, or stored as a landscape.

    python tests/benchmarks/live_trials.py --landscape digits --trials 300  # makes landscapes/digits.parquet
    python tests/benchmarks/live_trials.py --landscape mnist --trials 150 --data-root DIR

They run in this process as `raysys trial` runs them, but for the ledger and the files: nobody is charged.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from landscape import FOLDER, Told

from raysys.cluster import problem as problems
from raysys.cluster.plan import budget_range, check_space, with_method
from raysys.data.datasets import default_data_root
from raysys.distill.options import method_options
from raysys.distill.trial import Outcome, run_trial
from raysys.fronts.hypervolume import Reference
from raysys.oracle import Images, Response
from raysys.records import EvalSet, Report
from raysys.search.query_asha import milestones, own_milestones
from raysys.search.study_searcher import StudySearcher
from raysys.seeding import trial_seed
from raysys.space.load import apply_overrides, load_space, to_json
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.teacher.training import default_cache_dir

OVERRIDES = {
    "digits": "{}",
    # Trials of seconds instead of minutes: noise of three kinds, small budgets, few passes.
    "mnist": """
        query_budget: {type: int, low: 300, high: 2000, log: true}
        kind: {type: categorical, choices: [uniform, structured, scribbles]}
        rounds: {type: int, low: 1, high: 10, log: true}
        candidates: {type: categorical, choices: [1, 3, 10]}
        passes: {type: int, low: 1, high: 3}
        final_passes: {type: int, low: 4, high: 20, step: 4}
        generations: {type: int, low: 1, high: 2}
        self_distill: {type: float, low: 0.1, high: 0.9, when: {generations: 2}}
        """,
    # Of digits, for a search of minutes.
    "live": """
        query_budget: {type: int, low: 300, high: 2400, log: true}
        epochs: {type: int, low: 1, high: 10, log: true}
        g_steps: {type: int, low: 3, high: 15, log: true}
        passes: {type: int, low: 1, high: 5}
        final_passes: {type: int, low: 10, high: 60, step: 10}
        """,
}
METHODS = {"digits": "ideal", "mnist": "noise", "live": "ideal"}
SPACES = {"digits": "digits", "mnist": "mnist", "live": "digits"}


def searched(name: str) -> Space:
    """The space of that name, without its points: they would tell a search what is known already."""
    space = with_method(load_space(SPACES[name]), METHODS[name])
    overrides = yaml.safe_load(OVERRIDES[name])
    space = apply_overrides(space, overrides, method_options(space.method).model_fields)
    return space.model_copy(update={"points": [], "presets": {}, "smoke": {}})


class Stopped(Exception):
    """The search ended the trial."""


class Nowhere:
    """A `Keeper` that keeps nothing."""

    def load(self) -> None: ...

    def save(self, state: bytes, sequence: int) -> None: ...

    def keep_request(self, sequence: int, images: Images) -> None: ...

    def kept_request(self, sequence: int) -> None: ...

    def keep_pairs(self, first: int, images: Images, response: Response) -> None: ...

    def show(self, step: int, samples: Images) -> None: ...


class Unmetered:
    """A `Meter` that counts nothing."""

    def sent(self, start: int, stop: int) -> None: ...

    def unsent(self, start: int, stop: int) -> None: ...


class Live:
    """A `Problem` of `search.py`: its trials are real ones, on one thread."""

    def __init__(self, name: str = "live", data_root: Path | None = None) -> None:
        torch.set_num_threads(1)
        self.space = searched(name)
        low, high = budget_range(self.space)
        self.milestones = milestones(low, high)
        task = check_space(self.space)
        dataset = problems.read_dataset(self.space, task, data_root or default_data_root())
        layout = RunLayout.open(tempfile.mkdtemp())
        problem = problems.prepare(self.space, dataset, layout, default_cache_dir(), name, print)
        self._task, self._teacher = task, problem.teacher.backend("cpu")
        self._val = EvalSet(problem.val.images, problem.val.labels, self._labels(problem.val.images))
        self.reference = Reference(1 / task.num_classes, high)

    def run(self, values: Any, seed: int, goes_on: Callable[[Told], bool]) -> Told:
        """See `Problem.run`."""
        told = Told(0, 0.0, False)

        def on_reports(reports: Sequence[Report]) -> None:
            nonlocal told
            told = Told(reports[-1].queries, reports[-1].val_accuracy or 0.0, False)
            if reports[-1].milestone and not goes_on(told):
                raise Stopped

        try:
            self.whole(values, seed, own_milestones(self.milestones, int(values["query_budget"])), on_reports)
        except Stopped:
            return told
        return replace(told, last=True)

    def whole(
        self,
        values: Any,
        seed: int,
        at: tuple[int, ...],
        on_reports: Callable[[Sequence[Report]], None] = lambda reports: None,
    ) -> Outcome:
        """A trial from its first query to its last report, with reports at the milestones `at`."""
        config = problems.complete_config(self.space, dict(values), "u00000", seed % 2**31)
        config = replace(config, milestones=at)
        return run_trial(config, self._task, self, self._val, Nowhere(), on_reports, process_time)

    @property
    def epoch(self) -> int:
        """See `Oracle.epoch`."""
        return 0

    def ask(self, images: Images, sequence: int) -> Response:
        """See `Oracle.ask`."""
        return Response(self._labels(images))

    def _labels(self, images: Images) -> Any:
        return self._teacher.predict(images, Unmetered()).labels.astype("int64")


def stored(name: str, data_root: Path | None, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Trials of random configs, as rows of a landscape.

    `in_training` is the score of the student that was being trained when it came to each of the milestones.
    """
    live, rows = Live(name, data_root), []
    for number in numbers:
        values = dict(StudySearcher(live.space, "random", seed=1000 + number).ask().values)
        reports = live.whole(values, trial_seed(12345, number), live.milestones).reports
        kept = [report for report in reports if report.milestone] + [reports[-1]]
        before = [
            [one.val_accuracy for one in reports if not one.milestone and one.queries <= at.queries]
            for at in kept
        ]
        rows.append(
            {
                "trial": number,
                "values": json.dumps(values),
                "queries": [report.queries for report in kept],
                "score": [report.val_accuracy for report in kept],
                "in_training": [scores[-1] if scores else None for scores in before],
                "seconds": reports[-1].seconds,
            }
        )
    return rows


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--landscape", choices=("digits", "mnist"), required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--data-root", type=Path)
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.processes) as pool:
        parts = [range(first, asked.trials, asked.processes) for first in range(asked.processes)]
        found = pool.map(partial(stored, asked.landscape, asked.data_root), parts)
        rows = sorted((row for part in found for row in part), key=lambda row: int(row["trial"]))
    space = json.dumps(to_json(searched(asked.landscape)))
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"space": space})
    pq.write_table(table, FOLDER / f"{asked.landscape}.parquet", compression="zstd")


if __name__ == "__main__":
    main()
