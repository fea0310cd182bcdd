"""A space with conditions and made-up trials of it, shared by the tests of the study and of importances."""

import math
from collections.abc import Callable
from typing import Any

from raysys.records import Scalar, TrialRecord, TrialStatus
from raysys.search.study_searcher import StudySearcher
from raysys.space.schema import Space
from raysys.space.trial_config import resolve

SPACE = Space.model_validate(
    {
        "name": "toy",
        "dataset": "digits",
        "teacher": {"architecture": "lenet5", "recipe": {"epochs": 1}},
        "student": "lenet5",
        "parameters": {
            "query_budget": {"type": "int", "low": 100, "high": 4000, "log": True},
            "optimizer": {"type": "categorical", "choices": ["sgd", "adamw"]},
            "lr_sgd": {
                "type": "float",
                "low": 1e-3,
                "high": 1.0,
                "log": True,
                "option": "lr",
                "when": {"optimizer": "sgd"},
            },
            "lr_adamw": {
                "type": "float",
                "low": 1e-4,
                "high": 0.1,
                "log": True,
                "option": "lr",
                "when": {"optimizer": "adamw"},
            },
            "passes": {"type": "int", "low": 0, "high": 20, "step": 5},
            "mixup": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25},
        },
        "trials": 30,
    }
)

Options = dict[str, Any]


def by_passes(options: Options) -> float:
    """An accuracy that one parameter decides; no two trials of the others are equal."""
    return float(0.3 + options["passes"] / 40 + 1e-4 * math.sin(1000 * options["lr"]))


def finished(count: int, accuracy: Callable[[Options], float | None] = by_passes) -> list[TrialRecord]:
    """Records of `count` trials that were drawn at random and finished."""
    searcher = StudySearcher(SPACE, "random", seed=0)
    return [_record(number, dict(searcher.ask().values), accuracy) for number in range(count)]


def ended(number: int, status: TrialStatus, **values: Any) -> TrialRecord:
    """The record of one trial with sgd, and with these of the record's fields."""
    drawn: dict[str, Scalar] = {
        "query_budget": 500,
        "optimizer": "sgd",
        "lr_sgd": 0.1,
        "passes": 5,
        "mixup": 0.5,
    }
    config = resolve(SPACE, drawn, f"u{number:05d}", seed=number)
    return TrialRecord(config.uid, 1, status, config, **{"queries": 500, "val_accuracy": 0.8, **values})


def _record(
    number: int, drawn: dict[str, Scalar], accuracy: Callable[[Options], float | None]
) -> TrialRecord:
    config = resolve(SPACE, drawn, f"u{number:05d}", seed=number)
    options: Options = dict(config.options)
    spent = int(options["query_budget"])
    return TrialRecord(config.uid, 1, TrialStatus.FINISHED, config, spent, accuracy(options))
