"""Which configuration comes next: Optuna with several objectives, as a plain class. No Ray, no files."""

import logging
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import optuna
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from raysys.errors import CorruptRunError
from raysys.fronts.pareto import nondominated
from raysys.records import Scalar, TrialRecord, TrialStatus
from raysys.search.samplers import SamplerName, build_sampler, thrifty_budget
from raysys.search.study_records import constraints, frozen, least_and_most, objective_values
from raysys.seeding import part_seed, trial_seed
from raysys.space.schema import Categorical, FloatRange, IntRange, Space
from raysys.space.trial_config import searched_values

LEARNT_BUDGETS = ("random", "nsga2")
"""Samplers that choose query budgets as any other parameter; for the others they are `thrifty_budget`s."""

THRIFT = (2.0, 1.0)
"""Of the first half of the trials, in which the other parameters are learnt; of the second."""

FIRST = 10
"""Configs before any gets a second seed, as many as TPE draws at random; fewer in a short run."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suggestion:
    """A configuration to run: the active parameters' values."""

    number: int
    uid: str
    values: Mapping[str, Scalar]


@dataclass
class _Config:
    """A configuration, and what became of its trials, which differ by their seed.

    `trial` is Optuna's handle of it while the study waits for its end.
    """

    values: Mapping[str, Scalar]
    uids: list[str] = field(default_factory=list)
    running: int = 0
    finished: list[list[float]] = field(default_factory=list)
    stopped: bool = False
    trial: Trial | None = None

    @property
    def mean(self) -> list[float]:
        """The mean of its finished trials' objectives."""
        return [math.fsum(column) / len(self.finished) for column in zip(*self.finished, strict=True)]

    @property
    def state(self) -> TrialState:
        """What the sampler knows of it: a pruned config is worse than any that finished.

        One with a seed that finished without a finite objective has failed: it is on no front.
        """
        if self.finished:
            return TrialState.COMPLETE if all(map(math.isfinite, self.mean)) else TrialState.FAIL
        if self.running:
            return TrialState.RUNNING
        return TrialState.PRUNED if self.stopped else TrialState.FAIL


def trial_uid(number: int) -> str:
    """The stable name of trial `number`."""
    return f"u{number:05d}"


class StudySearcher:
    """Asks Optuna for configurations and tells it what became of them.

    A suggestion depends on the space, the seed, its number, and what was suggested and told before; the
    sampler itself keeps no state. So a searcher that `replay`s the records of a run goes on like the one
    that made them. The space's points come first.

    Trials of equal configs are one to Optuna, with the mean of their objectives. With `seeds` above 1, a
    config that is on the front so far is suggested again until it has so many trials: a lucky first one does
    not stay there. These are at most every second suggestion, until only so many of the `trials` are left as
    the front still lacks.

    A trial whose accuracy (or agreement, where that is the objective) is below `floor`, or that is outside
    of the space's limits, counts as infeasible. Without a floor, a student that asks nothing and guesses
    would be on every front. Just above chance is enough.

    `earlier` are trials of other runs, which the sampler learns from as if they were of this one.
    """

    def __init__(
        self,
        space: Space,
        sampler: SamplerName,
        seed: int,
        floor: float = 0.0,
        seeds: int = 1,
        trials: int | None = None,
        earlier: Iterable[TrialRecord] = (),
    ) -> None:
        self._space = space
        self._sampler = sampler
        self._seed = seed
        self._limits = least_and_most(space, floor)
        self._seeds = seeds
        self._trials = space.trials if trials is None else trials
        self._start = part_seed(seed, "query budgets") / 2**63
        self._configs: list[_Config] = []
        self._running: dict[str, _Config] = {}
        self._unfinished: list[Suggestion] = []
        self._asked = 0
        self._last_was_new = True
        for record in earlier:
            self._learn(record)
        self._earlier = len(self._configs)
        self._study: Study | None = None
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    @property
    def has_unfinished(self) -> bool:
        """True while `ask` has a trial left that a replay found unfinished."""
        return bool(self._unfinished)

    @property
    def study(self) -> Study:
        """What the sampler knows now, to be looked at only."""
        self._study = self._study or self._rebuilt()
        return self._study

    def ask(self) -> Suggestion:
        """The next configuration: first those that a replay found unfinished, then new ones."""
        if self._unfinished:
            return self._unfinished.pop(0)
        return self._begin(self._replicate() or self._new())

    def tell(self, uid: str, status: TrialStatus, objectives: Mapping[str, float | None]) -> None:
        """What became of a trial. `finished` with all its objectives counts in full, `stopped` as pruned.

        Any other end is a failure, which the sampler ignores. A status that is no end, an unknown uid and
        a second call are ignored.
        """
        if not status.ended:
            return
        config = self._running.pop(uid, None)
        if config is None:
            _log.info("nothing to tell of %s: unknown, or told before", uid)
            return
        config.running -= 1
        if status is TrialStatus.FINISHED:
            config.finished.append(objective_values(self._space, objectives))
        config.stopped |= status is TrialStatus.STOPPED
        self._settle(config)

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
                values = searched_values(self._space, record.config.options)
            except KeyError as error:
                raise CorruptRunError(
                    f"the config of trial {record.uid} has no option {error}",
                    "it was made with another space",
                    "start a new run",
                ) from None
            suggestion = self._begin(self._config(values))
            if record.status.ended:
                self.tell(record.uid, record.status, vars(record))
            else:
                self._unfinished.append(suggestion)

    def _learn(self, record: TrialRecord) -> None:
        """Take up a finished trial of another run, if its config is one of this space."""
        values = earlier_values(self._space, record)
        reached = objective_values(self._space, vars(record))
        if values is not None and all(map(math.isfinite, reached)):
            self._configs.append(_Config(values, finished=[reached]))

    def _config(self, values: Mapping[str, Scalar]) -> _Config:
        """This run's config that has these values; a new one where there is none."""
        for config in self._configs[self._earlier :]:
            if config.values == values:
                return config
        self._configs.append(_Config(values))
        return self._configs[-1]

    def _begin(self, config: _Config) -> Suggestion:
        """One more trial of a config."""
        suggestion = Suggestion(self._asked, trial_uid(self._asked), config.values)
        self._last_was_new = not config.uids
        config.uids.append(suggestion.uid)
        config.running += 1
        self._running[suggestion.uid] = config
        self._asked += 1
        return suggestion

    def _new(self) -> _Config:
        """What the sampler suggests; the study learns of it as of a trial that runs."""
        number, points = self._asked, self._space.points
        study = self.study
        study.sampler = build_sampler(self._sampler, trial_seed(self._seed, number))
        fixed = points[number].values if number < len(points) else self._budget(number)
        if fixed:
            study.enqueue_trial(dict(fixed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = study.ask()
            values: dict[str, Scalar] = {}
            for name, parameter in self._space.ordered():
                if self._space.is_active(name, values):
                    values[name] = _draw(trial, name, parameter)
        before = len(self._configs)
        config = self._config(values)
        if len(self._configs) > before:
            config.trial = trial
        else:  # drawn before: one more trial of that config, and none of the study
            self._study = None
        return config

    def _budget(self, number: int) -> dict[str, Scalar]:
        """The query budget of a new config, where one parameter alone decides it."""
        names = [name for name in self._space.parameters if self._space.option(name) == "query_budget"]
        if self._sampler in LEARNT_BUDGETS or len(names) != 1:
            return {}
        parameter = self._space.parameters[names[0]]
        if not isinstance(parameter, IntRange) or parameter.step != 1 or parameter.when:
            return {}
        thrift = THRIFT[2 * number >= self._trials]
        return {names[0]: thrifty_budget(number, self._start, parameter.low, parameter.high, thrift)}

    def _replicate(self) -> _Config | None:
        """The config that gets one more seed now, if any does."""
        first = max(min(FIRST, self._trials // self._seeds), len(self._space.points))
        if self._seeds == 1 or self._asked < first:
            return None
        lacking = self._lacking()
        left = self._trials - self._asked
        due = self._last_was_new or left <= sum(self._seeds - len(config.uids) for config in lacking)
        return lacking[0] if lacking and due else None

    def _lacking(self) -> list[_Config]:
        """This run's configs on the front, by their means so far, that lack seeds; the cheapest first."""
        configs = [one for one in self._configs if one.uids and one.state is TrialState.COMPLETE]
        configs = [one for one in configs if max(self._constraints(one).values()) <= 0]
        if not configs:
            return []
        signs = [-1 if one.direction == "maximize" else 1 for one in self._space.objectives]
        names = [one.name for one in self._space.objectives]
        costs = np.array([config.mean for config in configs]) * signs
        front = np.flatnonzero(nondominated(costs))
        front = front[np.argsort(costs[front, names.index("queries")], kind="stable")]
        return [configs[index] for index in front if len(configs[index].uids) < self._seeds]

    def _constraints(self, config: _Config) -> dict[str, float]:
        return constraints(self._space, config.mean, self._limits)

    def _settle(self, config: _Config) -> None:
        """Bring the study up to date with a config, or have it rebuilt where it knows another end."""
        trial, config.trial = config.trial, None
        if trial is None or self._study is None:
            self._study = None
        elif config.state is TrialState.COMPLETE:
            for name, excess in self._constraints(config).items():
                trial.set_constraint(name, excess)
            self._study.tell(trial, config.mean)
        else:
            self._study.tell(trial, state=config.state)

    def _rebuilt(self) -> Study:
        """A study that knows all configs as they are now, in their order."""
        study = optuna.create_study(
            directions=[objective.direction for objective in self._space.objectives],
            sampler=RandomSampler(seed=0),
        )
        for config in self._configs:
            config.trial = None
            reached = config.mean if config.state is TrialState.COMPLETE else None
            study.add_trial(frozen(self._space, config.values, config.state, reached, self._limits))
        return study


def earlier_values(space: Space, record: TrialRecord) -> dict[str, Scalar] | None:
    """The searched values of another run's finished trial; None where its config is none of `space`."""
    if record.status is not TrialStatus.FINISHED:
        return None
    try:
        values = searched_values(space, record.config.options)
    except KeyError:
        return None
    inside = all(space.parameters[name].contains(value) for name, value in values.items())
    return values if inside else None


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
