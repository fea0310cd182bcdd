"""A whole run in this process: what a session does on Ray Tune, one trial at a time and without Ray.

Searcher, early stopping, ledger, tables and trials are the real ones; Tune's loop is the loop here.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from raysys.cluster import problem as problems
from raysys.cluster.early_stopping import (
    is_further_seed,
    plan_stopping,
    query_budget,
    replayed,
    with_milestones,
)
from raysys.cluster.final import finish
from raysys.cluster.machine import Machine
from raysys.cluster.one_trial import run_one
from raysys.cluster.plan import FLOOR, check_space
from raysys.cluster.problem import Problem
from raysys.cluster.pruning import Pruner
from raysys.cluster.resume_check import Resumable
from raysys.cluster.run_book import RunBook
from raysys.cluster.teacher import teacher_setup
from raysys.fronts.front import contenders
from raysys.records import EVALUATION, Report, TrialRecord, TrialStatus
from raysys.search.study_searcher import StudySearcher
from raysys.seeding import trial_seed
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import Manifest, RunState, write_manifest
from raysys.store.reader import read_run
from raysys.store.warm_start import keep_earlier, read_earlier
from raysys.store.writer import RunWriter
from raysys.teacher.journal import open_journal, read_accounts
from raysys.teacher.service import LocalOracle


class Stopped(Exception):
    """Early stopping ended the trial."""


class Halt(Exception):
    """The run ends softly; `killed`: it ends as by kill -9."""

    def __init__(self, killed: bool = False) -> None:
        super().__init__()
        self.killed = killed


Hook = Callable[[Report], None]
"""Hears each report; what it raises ends the trial (`Halt` the run)."""


def here(folder: Path) -> Machine:
    """This machine, with its cache below `folder`."""
    return Machine(data_root=folder / "data", cache=folder / "cache", address="local", progress="none")


def start(
    layout: RunLayout,
    space: Space,
    machine: Machine,
    earlier: Sequence[TrialRecord],
    hook: Hook,
    seed: int = 0,
) -> None:
    """A new run, until its end or until `hook` ends it."""
    scheduler, milestones = plan_stopping(space, None)
    dataset = problems.read_dataset(space, check_space(space), machine.data_root)
    manifest = problems.new_manifest(
        space, dataset, machine.data_root, name=layout.root.name, created="2026-11-21T08:00:00+00:00",
        seed=seed, sampler="random", trials=space.trials, caps={}, preset="",
    )  # fmt: skip
    update: dict[str, Any] = {"scheduler": scheduler, "milestones": milestones}
    if earlier:
        update |= {"warm_start": ("earlier",), "warm_start_sha256": keep_earlier(layout, earlier)}
    manifest = manifest.model_copy(update=update)
    write_manifest(layout, manifest)
    problem = problems.prepare(space, dataset, layout, machine.cache, manifest.id, lambda text: None)
    manifest = manifest.model_copy(update={"teacher": problem.card})
    write_manifest(layout, manifest)
    drive(layout, manifest, space, problem, [], hook)


def go_on(layout: RunLayout, run: Resumable) -> None:
    """Resume a run that was examined, and end it."""
    assert run.problem is not None
    drive(layout, run.manifest, run.space, run.problem, run.records, lambda report: None)


def drive(
    layout: RunLayout,
    manifest: Manifest,
    space: Space,
    problem: Problem,
    records: list[TrialRecord],
    hook: Hook,
) -> None:
    write_manifest(layout, manifest)
    writer = RunWriter(layout)
    with closing(open_journal(layout.ledger)) as journal, closing(problem.teacher.backend("cpu")) as backend:
        service = teacher_setup(space, problem, layout).service(backend, journal)
        oracle = LocalOracle(service, EVALUATION, problem.evaluation_queries)
        val, test = problems.ask_held_out(problem, oracle)
        manifest = manifest.model_copy(update={"teacher": problems.tested_card(problem.card, val, test)})
        write_manifest(layout, manifest)
        book = RunBook(writer, records, time.monotonic)
        floor = FLOOR * manifest.reference.accuracy
        earlier = read_earlier(layout, manifest.warm_start_sha256) if manifest.warm_start else ()
        study = StudySearcher(space, "random", manifest.seed, floor, manifest.seeds, manifest.trials, earlier)
        study.replay(book.records.values())
        accounts = read_accounts(layout.ledger)
        asha = replayed(read_run(layout), {uid: account.charged for uid, account in accounts.items()})
        for _ in range(manifest.trials - sum(one.status.ended for one in records)):
            suggestion = study.ask()
            uid, known = suggestion.uid, book.records.get(suggestion.uid)
            seed = trial_seed(manifest.seed, suggestion.number)
            config = known.config if known else None
            config = config or problems.complete_config(space, dict(suggestion.values), uid, seed)
            config = with_milestones(config, manifest)
            if is_further_seed(config, book.records.values()):
                asha.spare(uid)
            book.suggested(config)
            book.started(uid)
            budget, reason = query_budget(config), ""

            def on_reports(reports: Sequence[Report], budget: int = budget) -> None:
                nonlocal reason
                book.reported(reports)
                for one in reports:
                    decision = asha.report(one.uid, budget, one.queries, one.val_accuracy, one.milestone)
                    if decision and not decision.goes_on:
                        reason = decision.reason
                        raise Stopped
                    hook(one)

            def open_oracle(uid: str, budget: int) -> LocalOracle:
                return LocalOracle(service, uid, budget)

            try:
                done = run_one(config, problem.task, open_oracle, val, layout, on_reports, lambda: 0.0, "cpu")
                asha.ended(uid, book.records[uid].queries, book.records[uid].val_accuracy)
                book.ended(uid, TrialStatus.FINISHED, done.note, done.weights_sha256)
            except Stopped:
                book.ended(uid, TrialStatus.STOPPED, reason)
            except Halt as halt:
                if not halt.killed:
                    book.interrupt()
                    finish(layout, manifest, book, problem.task, test, RunState.INTERRUPTED)
                    writer.close()
                return
            except ValueError as error:
                book.ended(uid, TrialStatus.FAILED, str(error))
            study.tell(uid, book.records[uid].status, vars(book.records[uid]))
            service.close(uid)
            every = list(book.records.values())
            Pruner(layout).prune(every, contenders(every, manifest.goal, manifest.seeds))
        finish(layout, manifest, book, problem.task, test, RunState.FINISHED)
        writer.close()
