"""Optuna's samplers as the search uses them: without a state of their own."""

import math
from typing import Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from raysys.space.schema import Categorical, FloatRange, IntRange

SamplerName = Literal["tpe", "nsga2", "gp", "random"]
"""`nsga2` and `gp` draw parameters that have a condition at random, as Optuna does; `tpe` learns them too."""

POPULATION = 20
"""Configs of one NSGA-II generation."""

GOLDEN = (math.sqrt(5) - 1) / 2


def build_sampler(name: SamplerName, seed: int) -> BaseSampler:
    """A sampler whose next draw follows from the study and `seed` alone."""
    match name:
        case "tpe":
            return TPESampler(seed=seed)
        case "nsga2":
            return _NumberedNSGAII(population_size=POPULATION, seed=seed)
        case "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False)
        case "random":
            return RandomSampler(seed=seed)


def distribution(parameter: IntRange | FloatRange | Categorical) -> BaseDistribution:
    """The parameter's range as Optuna knows it."""
    if isinstance(parameter, IntRange):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    if isinstance(parameter, FloatRange):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return CategoricalDistribution(parameter.choices)


def balanced_budget(number: int, start: float, low: int, high: int) -> int:
    """Query budget of config `number`: over many of them, any two octaves of budgets cost as many queries.

    A uniform u becomes the budget whose density falls with its square: drawn uniformly on a log scale, as
    stock samplers begin, half of all queries go into the budgets above (low + high) / 2, and what they teach
    about the other parameters could have been learnt from small ones. u runs through the golden ratio's
    sequence from `start` in [0, 1), so that a few configs cover the range already.
    """
    u = (start + number * GOLDEN) % 1
    return min(high, max(low, round(1 / ((1 - u) / low + u / high))))


class _NumberedNSGAII(NSGAIISampler):
    """NSGA-II whose generations follow from the configs' numbers.

    Optuna counts finished trials instead and keeps generations and parents in the study, so that the
    order of events decides, and a rebuilt study would differ. Here config n is of generation
    n // population size; its parents are chosen from what the earlier generations have finished.
    """

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        return trial.number // POPULATION

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [trial for trial in finished if trial.number // POPULATION == generation]

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        if generation == 0:
            return []
        parents: list[FrozenTrial] = self.select_parent(study, generation)
        return parents if len(parents) > 1 else []
