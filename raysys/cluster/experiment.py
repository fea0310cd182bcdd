"""A whole run on Ray Tune: teacher, search, trials and store joined; started anew or resumed.

Tune's own state is not used for a resume: the run's tables, checkpoints and ledger say what happened. A
resumed run rebuilds the searcher from the trials' records and starts a new Tuner; trials that had not
ended are suggested first, with their uid, and go on from their own checkpoint.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from ray import tune

from raysys.cluster import problem as problems
from raysys.cluster.callbacks import Recorder, RunStopper
from raysys.cluster.final import finish
from raysys.cluster.lock import run_lock
from raysys.cluster.machine import Machine, claim
from raysys.cluster.plan import budget_range, check_space
from raysys.cluster.problem import Problem
from raysys.cluster.progress import ProgressPrinter, run_status
from raysys.cluster.run_book import RunBook
from raysys.cluster.signals import SoftStop
from raysys.cluster.trainable import TrialContext, trainable
from raysys.data.datasets import Dataset
from raysys.errors import CorruptRunError, ResumeError, UnreachableError
from raysys.records import EVALUATION, EvalSet, TrialRecord, TrialStatus
from raysys.search.study_searcher import SamplerName, StudySearcher, Suggestion
from raysys.search.tune_searcher import TuneSearcher
from raysys.seeding import trial_seed
from raysys.space.load import from_json
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest, RunState, read_manifest, write_manifest
from raysys.store.reader import read_run
from raysys.store.writer import RunWriter
from raysys.teacher.actor import ActorOracle, Handle, start_teacher

RETRIES = 2
"""How often a failed trial is tried again, from its checkpoint."""

FLOOR = 1.5
"""A student must beat chance by this factor to be feasible for the searcher."""

ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths stay what the user meant
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables are the record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours serves SIGTERM as well
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's snapshots are never read
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "10",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """How a run ended; `reason` says why it ended early, `exit_code` is the process's."""

    state: RunState
    exit_code: int
    reason: str


def start_run(
    layout: RunLayout,
    space: Space,
    machine: Machine,
    *,
    seed: int,
    sampler: SamplerName,
    max_queries: int | None,
    say: Callable[[str], None],
) -> Ended:
    """A new run. Raises UsageError before anything is written when it cannot be."""
    dataset = problems.read_dataset(space, check_space(space), machine.data_root)
    problems.check_cap(max_queries, space, len(dataset.test_labels))
    claim(layout)
    manifest = problems.new_manifest(
        space,
        dataset,
        machine.data_root,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        sampler=sampler,
        trials=space.trials,
        caps={} if max_queries is None else {"queries": max_queries},
    )
    write_manifest(layout, manifest)
    with run_lock(layout):
        return _Run(layout, manifest, space, dataset, machine, say).go([])


def resume_run(
    layout: RunLayout,
    machine: Machine,
    *,
    own_data_root: bool,
    extend: int,
    retry_failed: bool,
    say: Callable[[str], None],
) -> Ended:
    """Go on with a run after any stop, with `own_data_root` where it found its data before.

    Raises ResumeError when it cannot be.
    """
    try:
        manifest = read_manifest(layout)
        records = read_run(layout).records()
    except CorruptRunError as error:
        raise ResumeError(f"cannot resume: {error.what}", error.why, error.hint) from error
    space = from_json(manifest.space)
    if own_data_root:
        machine = replace(machine, data_root=Path(manifest.dataset["root"]))
    dataset = problems.read_dataset(space, check_space(space), machine.data_root)
    if dataset.sha256 != manifest.dataset["sha256"]:
        raise ResumeError(
            f"cannot resume {layout.root}: the data set changed",
            f"the run began with {manifest.dataset['name']} {manifest.dataset['sha256'][:12]},"
            f" {machine.data_root} has {dataset.name} {dataset.sha256[:12]}",
            "name the folder it began with: --data-root DIR",
        )
    if retry_failed:
        records = [_reopened(record) for record in records]
    manifest = manifest.model_copy(update={"trials": manifest.trials + extend, "state": RunState.RUNNING})
    _say_plan(manifest, records, say)
    with run_lock(layout):
        return _Run(layout, manifest, space, dataset, machine, say).go(records)


class _Run:
    """The parts of one run, wired together once."""

    def __init__(
        self,
        layout: RunLayout,
        manifest: Manifest,
        space: Space,
        dataset: Dataset,
        machine: Machine,
        say: Callable[[str], None],
    ) -> None:
        self._layout = layout
        self._manifest = manifest
        self._space = space
        self._dataset = dataset
        self._machine = machine
        self._say = say
        self._start = time.monotonic()

    def go(self, records: list[TrialRecord]) -> Ended:
        """Prepare the teacher, run what is left, finish."""
        problem = self._prepare()
        with RunWriter(self._layout) as writer, self._ray(), SoftStop() as soft:
            book = RunBook(writer, records, time.monotonic)
            teacher, val, test = self._teacher(problem)
            brakes = _Brakes(soft, self._machine, self._manifest, book, self._start)
            if len([r for r in records if r.status.ended]) < self._manifest.trials:
                self._search(book, problem, teacher, val, brakes)
            book.interrupt()
            ended = brakes.ended(self._cap_reached(book, problem))
            finish(self._layout, self._manifest, book, problem.task, test, ended.state)
        return ended

    def _prepare(self) -> Problem:
        layout, cache = self._layout, self._machine.cache
        card = self._manifest.teacher
        if card is None:
            problem = problems.prepare(self._space, self._dataset, layout, cache, self._say)
            self._manifest = self._manifest.model_copy(update={"teacher": problem.card})
            write_manifest(layout, self._manifest)
            return problem
        problem = problems.reopen(self._space, self._dataset, layout, card)
        found = problem.teacher.sha256()
        if found != card.sha256:
            raise ResumeError(
                f"cannot resume {layout.root}: the teacher changed",
                f"the run began with {card.sha256[:12]}, {layout.teacher} has {found[:12]}",
                "restore that folder, or start a new run",
            )
        return problem

    @contextlib.contextmanager
    def _ray(self) -> Iterator[None]:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        local = self._machine.address == "local"
        try:
            ray.init(
                address=self._machine.address,
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UnreachableError(
                f"no Ray cluster at {self._machine.address}", str(error), "start one, or use --address local"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()

    def _teacher(self, problem: Problem) -> tuple[Handle, EvalSet, EvalSet]:
        cap = self._manifest.caps.get("queries")
        gpus = 0.1 if self._space.resources.gpus_per_trial else 0.0
        teacher = start_teacher(
            problem.teacher,
            self._space.response,
            self._layout.ledger,
            None if cap is None else int(cap),
            gpus,
        )
        oracle = ActorOracle(teacher, EVALUATION, problem.evaluation_queries)
        return teacher, *problems.ask_held_out(problem, oracle)

    def _search(
        self, book: RunBook, problem: Problem, teacher: Handle, val: EvalSet, brakes: "_Brakes"
    ) -> None:
        space, manifest = self._space, self._manifest
        study = StudySearcher(space, manifest.sampler, manifest.seed, FLOOR / problem.task.num_classes)  # type: ignore[arg-type]
        study.replay(book.records.values())
        ended = sum(record.status.ended for record in book.records.values())

        def on_suggest(suggestion: Suggestion) -> dict[str, Any]:
            known = book.records.get(suggestion.uid)
            seed = trial_seed(manifest.seed, suggestion.number)
            config = (
                known.config
                if known
                else problems.complete_config(space, dict(suggestion.values), suggestion.uid, seed)
            )
            book.suggested(config)
            return asdict(config)

        searcher = TuneSearcher(
            study,
            on_suggest,
            manifest.trials - ended,
            more=lambda: not self._cap_reached(book, problem),
        )
        _fit(
            self._layout,
            self._trainable(problem, teacher, val),
            searcher,
            self._concurrent(),
            book,
            brakes,
            self._progress(book, problem),
        )

    def _trainable(self, problem: Problem, teacher: Handle, val: EvalSet) -> Any:
        resources = self._space.resources
        root, threads = str(self._layout.root), problems.threads(self._space)
        context = TrialContext(root, problem.task, val, teacher, threads)
        held = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial}
        return tune.with_resources(tune.with_parameters(trainable, context=context), held)

    def _concurrent(self) -> int:
        resources = self._space.resources
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        fits = [
            int(there.get(kind, 0) / each)
            for kind, each in (("CPU", resources.cpus_per_trial), ("GPU", resources.gpus_per_trial))
            if each
        ]
        most = min(fits, default=1)
        if most < 1:
            raise UnreachableError(
                f"no trial can start: each needs {resources.cpus_per_trial:g} CPU and"
                f" {resources.gpus_per_trial:g} GPU",
                f"the cluster has {there.get('CPU', 0):g} CPU and {there.get('GPU', 0):g} GPU",
                "use smaller --cpus-per-trial and --gpus-per-trial, or add a node",
            )
        return min(most, self._machine.concurrent or most)

    def _progress(self, book: RunBook, problem: Problem) -> Callable[[bool], None]:
        printer = ProgressPrinter(self._machine.progress, self._layout.root.name, time.monotonic)
        manifest = self._manifest
        cap = manifest.caps.get("queries")
        worst = problem.evaluation_queries + manifest.trials * budget_range(self._space)[1]

        def tick(last: bool = False) -> None:
            if last or printer.due:
                printer.show(
                    run_status(
                        book.records,
                        manifest.trials,
                        problem.evaluation_queries,
                        worst,
                        None if cap is None else int(cap),
                        manifest.reference,
                        time.monotonic() - self._start,
                    )
                )
            if last:
                printer.close()

        return tick

    def _cap_reached(self, book: RunBook, problem: Problem) -> bool:
        cap = self._manifest.caps.get("queries")
        if cap is None:
            return False
        spent = problem.evaluation_queries + sum(record.queries for record in book.records.values())
        return cap - spent < budget_range(self._space)[0]


def _fit(
    layout: RunLayout,
    trial: Any,
    searcher: TuneSearcher,
    concurrent: int,
    book: RunBook,
    brakes: "_Brakes",
    progress: Callable[..., None],
) -> None:
    """Let Tune run the trials; whatever it prints goes to the run's log."""
    tuner = tune.Tuner(
        trial,
        tune_config=tune.TuneConfig(
            search_alg=searcher, num_samples=-1, max_concurrent_trials=concurrent, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name=f"session-{int(time.time())}",
            storage_path=str(layout.tune),
            verbose=0,
            callbacks=[Recorder(book, progress)],
            stop=RunStopper(brakes.reason),
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    )
    with layout.log.open("a") as log, contextlib.redirect_stdout(log):
        tuner.fit()
    progress(True)


class _Brakes:
    """Why a run should end before its trials have."""

    def __init__(
        self, soft: SoftStop, machine: Machine, manifest: Manifest, book: RunBook, start: float
    ) -> None:
        self._soft = soft
        self._machine = machine
        self._manifest = manifest
        self._book = book
        self._start = start
        self._told = False

    def reason(self) -> str:
        """Empty while the run should go on."""
        if self._soft.signal:
            if not self._told:
                sys.stderr.write("\nStopping: the trials' state is on disk. Once more ends at once.\n")
                self._told = True
            return f"interrupted by {self._soft.signal.name}"
        time_s = self._machine.time_s
        if time_s is not None and time.monotonic() - self._start > time_s:
            return f"the time of {time_s:g} s is over"
        failed = self._book.share_failed(self._manifest.trials)
        if failed > self._machine.max_failures:
            return f"{failed:.0%} of the trials failed, more than {self._machine.max_failures:.0%}"
        return ""

    def ended(self, cap_reached: bool) -> Ended:
        """How the run ended, after its trials have."""
        reason = self.reason()
        done = sum(record.status.ended for record in self._book.records.values())
        if self._soft.signal:
            return Ended(RunState.INTERRUPTED, self._soft.exit_code, reason)
        if self._book.share_failed(self._manifest.trials) > self._machine.max_failures:
            return Ended(RunState.FAILED, 3, reason)
        if done >= self._manifest.trials:
            return Ended(RunState.FINISHED, 0, "")
        if cap_reached:
            return Ended(
                RunState.CAPPED, 4, f"the cap of {self._manifest.caps['queries']:,.0f} queries is reached"
            )
        if reason:
            return Ended(RunState.CAPPED, 4, reason)
        return Ended(
            RunState.FAILED, 1, f"only {done} of {self._manifest.trials} trials ended: see the run's log"
        )


def _reopened(record: TrialRecord) -> TrialRecord:
    failed = record.status is TrialStatus.FAILED
    return replace(record, status=TrialStatus.INTERRUPTED, error="") if failed else record


def _say_plan(manifest: Manifest, records: list[TrialRecord], say: Callable[[str], None]) -> None:
    kept = sum(record.status.ended for record in records)
    again = [record for record in records if not record.status.ended]
    spent = sum(record.queries for record in records)
    say(
        f"resuming: {kept} trials are kept, {len(again)} go on from their checkpoints,"
        f" {max(0, manifest.trials - kept - len(again))} are still to start;"
        f" their reports tell of {spent:,} queries"
    )
