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


def thrifty_budget(number: int, start: float, low: int, high: int, thrift: float) -> int:
    """Query budget of config `number`, so that many of them spend 2**(1 - thrift) times as much on an octave.

    That is, on each octave of budgets, compared with the one below: as much with a `thrift` of 1, half as
    much with 2. Stock samplers draw budgets uniformly on a log scale (0), so that half of all queries are
    spent above (low + high) / 2; what they teach about the other parameters could be learnt from small ones.

    A budget is drawn from a density that falls with its power 1 + thrift, by the inverse of its distribution;
    the uniform number runs through the golden ratio's sequence from `start` in [0, 1), so that a few configs
    cover the range already.
    """
    u = (start + number * GOLDEN) % 1
    budget: float = ((1 - u) * low**-thrift + u * high**-thrift) ** (-1 / thrift)
    return min(high, max(low, round(budget)))


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
