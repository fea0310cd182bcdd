"""One driver's work on a run: teacher, search, trials and store joined on Ray Tune."""

import contextlib
import os
import shlex
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune

from raysys.cluster import problem as problems
from raysys.cluster.brakes import Brakes, Ended
from raysys.cluster.callbacks import Recorder, RunStopper
from raysys.cluster.caps import most_queries
from raysys.cluster.early_stopping import extras, is_further_seed, replayed, with_milestones
from raysys.cluster.final import end_by_force, finish
from raysys.cluster.http_teacher import reconcile
from raysys.cluster.machine import Machine
from raysys.cluster.pack_actor import Packs
from raysys.cluster.pack_auto import pack_size
from raysys.cluster.pack_relay import HELD, relay
from raysys.cluster.plan import FLOOR, budget_range
from raysys.cluster.problem import Problem
from raysys.cluster.progress import ProgressPrinter, run_status
from raysys.cluster.pruning import Pruner
from raysys.cluster.ray_cluster import Places, ray_session
from raysys.cluster.run_book import RunBook, interrupted_by_force
from raysys.cluster.run_log import run_log
from raysys.cluster.signals import SoftStop
from raysys.cluster.teacher import teacher_setup
from raysys.cluster.trainable import TrialContext, trainable
from raysys.data.datasets import Dataset
from raysys.errors import RaysysError, UnreachableError
from raysys.fronts.front import contenders
from raysys.records import EVALUATION, EvalSet, TrialRecord
from raysys.search.study_searcher import StudySearcher, Suggestion
from raysys.search.tune_scheduler import TuneScheduler
from raysys.search.tune_searcher import TuneSearcher
from raysys.seeding import trial_seed
from raysys.source import code_id
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import NO_SCHEDULER, Manifest, RunState, write_manifest
from raysys.store.reader import read_run
from raysys.store.warm_start import read_earlier
from raysys.store.writer import RunWriter
from raysys.teacher.actor import ActorOracle, Handle, answer, start_teacher

MOST = 1000
"""Trials that Tune handles at once; how many there are `Places` says."""
RETRIES = 2
"""How often a failed trial is tried again, from its checkpoint, without coming any further than before."""


@dataclass(frozen=True)
class _Work:
    """What a session works with once Ray and the teacher are there."""

    problem: Problem
    book: RunBook
    places: Places
    packs: Packs
    brakes: Brakes
    teacher: Handle
    val: EvalSet


class Session:
    """The parts of one run while one driver works on it."""

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
        self._cap = most_queries(manifest.caps, space.price)
        self._start = time.monotonic()

    def go(self, prepare: Callable[[], Problem], records: list[TrialRecord]) -> Ended:
        """Run what is left of the problem that `prepare` gives, finish."""
        write_manifest(self._layout, self._manifest)  # more trials and larger caps are kept, whatever happens
        ahead = self._machine.pack == 1  # relays to packs, a process for each trial, are to be small
        with (
            run_log(self._layout, self._say) as log,
            RunWriter(self._layout) as writer,
            ray_session(self._machine.address, log, self._head_lost, ahead),
            ExitStack() as stack,
        ):
            problem = prepare()  # while Ray's workers import what they need; a signal ends it at once
            soft = stack.enter_context(SoftStop())
            book = stack.enter_context(interrupted_by_force(RunBook(writer, records, time.monotonic)))
            networks = 0 if self._space.teacher.http else self._space.teacher.replicas
            joined = self._machine.address != "local"
            places = Places(self._space.resources, self._machine.concurrent, joined, networks)
            places.check()
            places.pack = self._pack(problem)
            packs = Packs(self._space.resources, places.pack)
            teacher, val, test = self._teacher(problem, places.teacher_gpus, log, soft)
            card = problems.tested_card(problem.card, val, test)
            self._manifest = self._manifest.model_copy(update={"teacher": card})
            write_manifest(self._layout, self._manifest)  # a resumed run runs again, perhaps with more trials
            brakes = Brakes(soft, self._machine, self._manifest, book, self._elapsed)
            work = _Work(problem, book, places, packs, brakes, teacher, val)
            if sum(record.status.ended for record in records) < self._manifest.trials:
                self._search(work)
            book.interrupt()
            with contextlib.suppress(RaysysError):  # the run may be ending because the teacher is gone
                answer(teacher.end.remote())  # Tune may have left requests under way
                reconcile(problem.teacher, lambda counted: answer(teacher.count.remote(counted)))
            ended = brakes.ended(self._cap_reached(work))
            finish(self._layout, self._manifest, book, problem.task, test, ended.state)
        return ended

    def _pack(self, problem: Problem) -> int:
        asked = self._machine.pack
        if asked is None:
            asked = pack_size(self._space, problem.task)
            self._say(f"{asked} trials share a process" if asked > 1 else "each trial has its own process")
        return min(asked, self._manifest.trials)  # a pack has a thread for each place

    def _head_lost(self) -> None:
        """The process will end now: say how the run stands, and what goes on with it."""
        with contextlib.suppress(RaysysError):
            end_by_force(self._layout, RunState.INTERRUPTED)
        command = f"raysys tune --resume {shlex.quote(self._layout.location)}"
        os.write(2, f"\nerror: the head of the Ray cluster is lost\n  go on with:  {command}\n".encode())

    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def prepare(self) -> Problem:
        """The teacher of a run that has none yet, found or trained."""
        problem = problems.prepare(
            self._space, self._dataset, self._layout, self._machine.cache, self._manifest.id, self._say
        )
        self._manifest = self._manifest.model_copy(update={"teacher": problem.card})
        write_manifest(self._layout, self._manifest)
        return problem

    def _teacher(
        self, problem: Problem, gpus: float, log: Path, soft: SoftStop
    ) -> tuple[Handle, EvalSet, EvalSet]:
        """The teacher and its answers to val and test; a stop meanwhile ends the run before any trial."""
        setup = teacher_setup(self._space, problem, self._layout, self._manifest.caps, gpus, log)
        teacher = start_teacher(setup)
        oracle = ActorOracle(teacher, EVALUATION, problem.evaluation_queries)
        return teacher, *problems.ask_held_out(problem, oracle, soft.check)

    def _search(self, work: _Work) -> None:
        space, manifest, book = self._space, self._manifest, work.book
        study = StudySearcher(
            space,
            manifest.sampler,  # type: ignore[arg-type]
            manifest.seed,
            FLOOR * manifest.reference.accuracy,
            manifest.seeds,
            manifest.trials,
            read_earlier(self._layout, manifest.warm_start_sha256) if manifest.warm_start else (),
        )
        study.replay(book.records.values())
        ended = sum(record.status.ended for record in book.records.values())
        scheduler = self._scheduler(work.teacher)

        def on_suggest(suggestion: Suggestion) -> dict[str, Any]:
            known = book.records.get(suggestion.uid)
            seed = trial_seed(manifest.seed, suggestion.number)
            config = (
                known.config
                if known
                else problems.complete_config(space, dict(suggestion.values), suggestion.uid, seed)
            )
            config = with_milestones(config, manifest)
            if scheduler and is_further_seed(config, book.records.values()):
                scheduler.spare(config.uid)
            book.suggested(config)
            work.packs.expect(config.uid)
            return asdict(config)

        searcher = TuneSearcher(
            study,
            on_suggest,
            manifest.trials - ended,
            places=lambda: work.places.count,
            more=lambda: not self._cap_reached(work),
        )
        self._fit(work, searcher, scheduler)

    def _fit(self, work: _Work, searcher: TuneSearcher, scheduler: TuneScheduler | None) -> None:
        """Let Tune run the trials."""
        progress, reasons = self._progress(work), scheduler.reasons if scheduler else {}
        tuner = tune.Tuner(
            self._trainable(work),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                max_concurrent_trials=self._machine.concurrent or MOST,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=f"session-{int(time.time())}",
                storage_path=str(self._layout.tune),
                storage_filesystem=self._layout.filesystem,
                verbose=0,
                callbacks=[Recorder(work.book, progress, self._on_end(work), reasons)],
                stop=RunStopper(work.brakes.reason),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        )
        try:
            tuner.fit()
        finally:
            progress(True)  # gives the terminal back
            work.packs.end()

    def _scheduler(self, teacher: Handle) -> TuneScheduler | None:
        """Early stopping, where the run has it, that knows what earlier sessions saw."""
        manifest = self._manifest
        if manifest.scheduler == NO_SCHEDULER:
            return None
        charged = {uid: account.charged for uid, account in answer(teacher.accounts.remote()).items()}
        asha = replayed(read_run(self._layout), charged)
        return TuneScheduler(asha, manifest.score, extras(manifest))

    def _on_end(self, work: _Work) -> Callable[[str], None]:
        """What happens when Tune is done with a trial."""
        pruner = Pruner(self._layout)

        def on_end(uid: str) -> None:
            work.teacher.close.remote(uid)
            work.packs.dismiss(uid)
            records = list(work.book.records.values())
            pruner.prune(records, contenders(records, self._manifest.goal, self._manifest.seeds))

        return on_end

    def _trainable(self, work: _Work) -> Any:
        each = self._space.resources
        threads = problems.threads(self._space)
        gpu = "cuda" if each.gpus_per_trial else "cpu"  # the worker's, not this machine's
        images = problems.real_images(self._space, self._dataset)
        context = TrialContext(
            self._layout, work.problem.task, work.val, work.teacher, threads, gpu, images, code_id()
        )
        if work.places.pack > 1:
            apart = tune.with_parameters(relay, context=[ray.put(context)])
            return tune.with_resources(apart, HELD)
        held = {"CPU": each.cpus_per_trial, "GPU": each.gpus_per_trial}
        return tune.with_resources(tune.with_parameters(trainable, context=context), held)

    def _progress(self, work: _Work) -> Callable[..., None]:
        printer = ProgressPrinter(self._machine.progress, self._layout.name, time.monotonic)
        manifest, book, evaluation = self._manifest, work.book, work.problem.evaluation_queries
        kept = sum(record.status.ended for record in book.records.values())
        worst = evaluation + manifest.trials * budget_range(self._space)[1]

        def tick(last: bool = False) -> None:
            if last or printer.due:
                printer.show(
                    run_status(
                        book.records,
                        manifest.trials,
                        evaluation,
                        worst,
                        self._cap,
                        manifest.goal,
                        self._elapsed(),
                        kept,
                        waits=not last and not work.places.fitting,
                    )
                )
            if last:
                printer.close()

        return tick

    def _cap_reached(self, work: _Work) -> bool:
        if self._cap is None:
            return False
        lost = 0
        if "cost" in self._manifest.caps:  # attempts without an answer may be billed as well
            with contextlib.suppress(UnreachableError):
                accounts = answer(work.teacher.accounts.remote()).values()
                lost = sum(account.executed - account.charged for account in accounts)
        # What the running trials may still ask is theirs: a trial that is left nothing teaches nothing.
        taken = (
            record.queries if record.status.ended else int(record.config.options["query_budget"])
            for record in work.book.records.values()
        )
        return self._cap - lost - work.problem.evaluation_queries - sum(taken) < budget_range(self._space)[0]
