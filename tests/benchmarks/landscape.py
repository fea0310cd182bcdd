"""What trials of a space reach, learnt from stored real ones: to compare searches without running trials.

`landscapes/NAME.parquet` has real trials of random configs, made by `live_trials.py`: the searched values,
and the reports at each milestone and at the end. A forest of randomised trees (Geurts et al. 2006) learns the
logit of the score from the values, the queries and the budget. What it leaves unexplained is partly chance:
trials that differ by their seed differ by `NOISE` of that, in all their reports alike and in each of them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import GroupKFold

from raysys.fronts.hypervolume import Reference
from raysys.records import Scalar
from raysys.search.query_asha import milestones, own_milestones
from raysys.space.load import from_json
from raysys.space.schema import Categorical, Space

FOLDER = Path(__file__).parent / "landscapes"
NOISE = 0.5
TREES = 200


@dataclass(frozen=True)
class Told:
    """One report of a trial: what so many queries bought; `last` where the trial has ended."""

    queries: int
    score: float
    last: bool


class Landscape:
    """A space whose trials are predicted; `r2`: explained share of the logits' variance on other trials."""

    def __init__(self, name: str) -> None:
        table = pq.read_table(FOLDER / f"{name}.parquet")
        assert table.schema.metadata is not None
        self.space: Space = from_json(json.loads(table.schema.metadata[b"space"]))
        budgets = self.space.parameters["query_budget"]
        self._milestones = milestones(budgets.low, budgets.high)  # type: ignore[union-attr]
        self.reference = Reference(0.1, budgets.high)  # type: ignore[union-attr]
        rows, logits, trials = [], [], []
        for row in table.to_pylist():
            values = json.loads(row["values"])
            for queries, score in zip(row["queries"], row["score"], strict=True):
                rows.append(self._features(values, queries))
                logits.append(_logit(score))
                trials.append(row["trial"])
        inputs, targets, groups = np.array(rows), np.array(logits), np.array(trials)
        left = np.zeros(len(targets))
        for known, held_out in GroupKFold(5).split(inputs, targets, groups):
            left[held_out] = targets[held_out] - _forest().fit(inputs[known], targets[known]).predict(
                inputs[held_out]
            )
        self.trials = table.num_rows
        self.r2 = float(1 - left.var() / targets.var())
        means = np.array([left[groups == trial].mean() for trial in np.unique(groups)])
        within = left - means[np.searchsorted(np.unique(groups), groups)]
        self._shared, self._own = float(NOISE * means.std()), float(NOISE * within.std())
        self._forest = _forest().fit(inputs, targets)

    def run(self, values: Mapping[str, Scalar], seed: int, goes_on: Callable[[Told], bool]) -> Told:
        """The last report of a trial, which `goes_on` is asked about at each of its milestones."""
        budget = int(values["query_budget"])
        end = spends(values)
        at = [*(one for one in own_milestones(self._milestones, budget) if one < end), end]
        rng = np.random.default_rng(seed)
        logits = self._forest.predict(np.array([self._features(values, queries) for queries in at]))
        logits += self._shared * rng.normal() + self._own * rng.normal(size=len(at))
        for queries, logit in zip(at, logits, strict=True):
            told = Told(queries, float(1 / (1 + np.exp(-logit))), queries == end)
            if told.last or not goes_on(told):
                break
        return told

    def _features(self, values: Mapping[str, Scalar], queries: int) -> list[float]:
        budget = float(values["query_budget"])
        row = [np.log(queries), np.log(budget / queries)]
        for name, parameter in self.space.parameters.items():
            value: Any = values.get(name)
            if isinstance(parameter, Categorical):
                row += [float(value == choice) for choice in parameter.choices]
            elif name != "query_budget":
                row.append(-20.0 if value is None else np.log(value) if parameter.log else float(value))
        return row


def spends(values: Mapping[str, Scalar]) -> int:
    """What a trial asks: with method `ideal`, its epochs may end before its budget does."""
    budget = int(values["query_budget"])
    if "epochs" not in values:
        return budget
    warm_up = round(float(values["warmup_share"]) * budget)
    return min(budget, warm_up + int(values["epochs"]) * int(values["batch_size"]))


def _forest() -> ExtraTreesRegressor:
    return ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=0)


def _logit(score: float) -> float:
    share = min(max(score, 0.02), 0.995)
    return float(np.log(share / (1 - share)))
