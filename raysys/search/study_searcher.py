"""Which configuration comes next: Optuna with several objectives, as a plain class. No Ray, no files."""

import logging
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from raysys.errors import CorruptRunError
from raysys.fronts.objectives import score
from raysys.records import Scalar, TrialRecord, TrialStatus
from raysys.seeding import trial_seed
from raysys.space.schema import Categorical, FloatRange, IntRange, Space
from raysys.space.trial_config import searched_values

SamplerName = Literal["tpe", "nsga2", "gp", "random"]
"""`nsga2` and `gp` draw parameters that have a condition at random, as Optuna does; `tpe` learns them too."""

POPULATION = 20
"""Trials of one NSGA-II generation."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suggestion:
    """A configuration to run: the active parameters' values."""

    number: int
    uid: str
    values: Mapping[str, Scalar]


def trial_uid(number: int) -> str:
    """The stable name of trial `number`."""
    return f"u{number:05d}"


class StudySearcher:
    """Asks Optuna for configurations and tells it what became of them.

    A suggestion depends on the space, the seed, its number, and what was suggested and told before; the
    sampler itself keeps no state. So a searcher that `replay`s the records of a run goes on like the one
    that made them. The space's points come first.

    A trial whose accuracy (or agreement, where that is the objective) is below `floor` counts as
    infeasible. Without one, a student that asks nothing and guesses would be on every front. Just above
    chance is enough.
    """

    def __init__(self, space: Space, sampler: SamplerName, seed: int, floor: float = 0.0) -> None:
        self._space = space
        names = [str(objective.name) for objective in space.objectives]
        self._score = names.index(score(names))
        self._sampler = sampler
        self._seed = seed
        self._floor = floor
        self._running: dict[str, Trial] = {}
        self._unfinished: list[Suggestion] = []
        self._asked = 0
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            directions=[objective.direction for objective in space.objectives],
            sampler=RandomSampler(seed=0),
        )

    @property
    def has_unfinished(self) -> bool:
        """True while `ask` has a trial left that a replay found unfinished."""
        return bool(self._unfinished)

    def ask(self) -> Suggestion:
        """The next configuration: first those that a replay found unfinished, then new ones."""
        if self._unfinished:
            return self._unfinished.pop(0)
        number = self._asked
        self._study.sampler = _sampler(self._sampler, trial_seed(self._seed, number))
        if number < len(self._space.points):
            self._study.enqueue_trial(self._space.points[number].values)
        return self._open()

    def tell(self, uid: str, status: TrialStatus, objectives: Mapping[str, float | None]) -> None:
        """What became of a trial. `finished` with all its objectives counts in full, `stopped` as pruned.

        Any other end is a failure, which the sampler ignores. A status that is no end, an unknown uid and
        a second call are ignored.
        """
        if not status.ended:
            return
        trial = self._running.pop(uid, None)
        if trial is None:
            _log.info("nothing to tell of %s: unknown, or told before", uid)
            return
        values = [objectives.get(objective.name) for objective in self._space.objectives]
        known = [value for value in values if value is not None and math.isfinite(value)]
        if status is TrialStatus.FINISHED and len(known) == len(values):
            trial.set_constraint("floor", self._floor - known[self._score])
            self._study.tell(trial, known)
        elif status is TrialStatus.STOPPED:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    def replay(self, records: Iterable[TrialRecord]) -> None:
        """Take up the records of a run, in a searcher that was asked nothing yet.

        Trials that have not ended are suggested again, with their uid and values, before any new one.
        Raises CorruptRunError when a trial is missing or its config does not fit the space.
        """
        for record in sorted(records, key=lambda record: (len(record.uid), record.uid)):
            if record.uid != trial_uid(self._asked):
                raise CorruptRunError(
                    f"the record of trial {trial_uid(self._asked)} is missing",
                    f"the next one is {record.uid}: the search cannot be rebuilt",
                    "start a new run",
                )
            try:
                known = searched_values(self._space, record.config.options)
            except KeyError as error:
                raise CorruptRunError(
                    f"the config of trial {record.uid} has no option {error}",
                    "it was made with another space",
                    "start a new run",
                ) from None
            self._study.sampler = RandomSampler(seed=0)
            self._study.enqueue_trial(known)
            suggestion = self._open()
            if record.status.ended:
                objectives = {str(one.name): getattr(record, one.name) for one in self._space.objectives}
                self.tell(record.uid, record.status, objectives)
            else:
                self._unfinished.append(suggestion)

    def _open(self) -> Suggestion:
        """Ask the study for its next trial and draw the active parameters."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask()
            values: dict[str, Scalar] = {}
            for name, parameter in self._space.ordered():
                if self._space.is_active(name, values):
                    values[name] = _draw(trial, name, parameter)
        suggestion = Suggestion(trial.number, trial_uid(trial.number), values)
        self._running[suggestion.uid] = trial
        self._asked += 1
        return suggestion


def _draw(trial: Trial, name: str, parameter: IntRange | FloatRange | Categorical) -> Scalar:
    if isinstance(parameter, IntRange):
        return int(
            trial.suggest_int(name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
        )
    if isinstance(parameter, FloatRange):
        return float(
            trial.suggest_float(name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
        )
    return cast(Scalar, trial.suggest_categorical(name, parameter.choices))


def _sampler(name: SamplerName, seed: int) -> BaseSampler:
    match name:
        case "tpe":
            return TPESampler(seed=seed)
        case "nsga2":
            return _NumberedNSGAII(population_size=POPULATION, seed=seed)
        case "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False)
        case "random":
            return RandomSampler(seed=seed)


class _NumberedNSGAII(NSGAIISampler):
    """NSGA-II whose generations follow from the trials' numbers.

    Optuna counts finished trials instead and keeps generations and parents in the study, so that the
    order of events decides, and a rebuilt study would differ. Here trial n is of generation
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
