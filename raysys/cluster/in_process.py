"""One trial as a run of its own in this process: no Ray, the same code, files and ledger rules."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from raysys.cluster import problem as problems
from raysys.cluster.final import crash_recorded, finish
from raysys.cluster.http_teacher import reconcile
from raysys.cluster.lock import run_lock
from raysys.cluster.machine import Machine, claim
from raysys.cluster.one_trial import run_one
from raysys.cluster.plan import check_space
from raysys.cluster.run_book import RunBook
from raysys.cluster.teacher import teacher_setup
from raysys.errors import RaysysError
from raysys.records import EVALUATION, Report, TrialConfig, TrialRecord, TrialStatus
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import NO_SAMPLER, RunState, write_manifest
from raysys.store.writer import RunWriter
from raysys.teacher.journal import open_journal
from raysys.teacher.service import LocalOracle


@contextmanager
def ended_by_force(book: RunBook, uid: str) -> Iterator[None]:
    """Whatever ends a trial by force, its row does not go on saying `pending` or `running`."""
    try:
        yield
    except KeyboardInterrupt:
        book.interrupt()
        raise
    except Exception as failure:
        with suppress(RaysysError):  # a full disk is told of already
            book.ended(uid, TrialStatus.FAILED, error=f"{type(failure).__name__}: {failure}")
        raise


@dataclass(frozen=True)
class Watcher:
    """What a caller wants to hear: notes, and each report."""

    say: Callable[[str], None]
    on_report: Callable[[Report], None]


def run_in_process(
    layout: RunLayout, space: Space, config: TrialConfig, machine: Machine, watcher: Watcher, preset: str = ""
) -> TrialRecord:
    """Run `config` in a new run folder and test its student. Raises UsageError when the folder exists.

    `preset` names the space's preset that the config is of, for the manifest.
    """
    task = check_space(space)
    problems.check_networks(space, task)
    dataset = problems.read_dataset(space, task, machine.data_root)
    problems.check_teacher(space, dataset)
    claim(layout)
    watcher.say(f"run {layout.location}")
    if few := problems.few_held_out(space, dataset):
        watcher.say(few)
    if space.teacher.http is not None:
        asked = problems.held_out_queries(space, dataset)
        most = int(config.options["query_budget"]) + asked
        watcher.say(
            f"asks {space.teacher.http.url} at most {most:,} images, {asked:,} of them for evaluation"
        )
    torch.set_num_threads(problems.threads(space))
    manifest = problems.new_manifest(
        space,
        dataset,
        machine.data_root,
        name=layout.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=config.seed,
        sampler=NO_SAMPLER,
        trials=1,
        caps={},
        preset=preset,
    )
    manifest = manifest.model_copy(update={"milestones": config.milestones})
    with (
        run_lock(layout, watcher.say),
        crash_recorded(layout),
        RunWriter(layout) as writer,
        ExitStack() as stack,
        closing(open_journal(layout.ledger, layout.filesystem)) as journal,
    ):
        write_manifest(layout, manifest)
        book = RunBook(writer, [], time.monotonic)
        book.suggested(config)

        def on_reports(reports: Sequence[Report]) -> None:
            book.reported(reports)
            watcher.on_report(reports[-1])

        with ended_by_force(book, config.uid):
            problem = problems.prepare(space, dataset, layout, machine.cache, manifest.id, watcher.say)
            device = problems.device(space)
            setup = teacher_setup(space, problem, layout)
            backend = stack.enter_context(closing(setup.source.backend(device)))
            service = setup.service(backend, journal)
            oracle = LocalOracle(service, EVALUATION, problem.evaluation_queries)
            val, test = problems.ask_held_out(problem, oracle)
            card = problems.tested_card(problem.card, val, test)
            book.started(config.uid)
            done = run_one(
                config,
                problem.task,
                lambda uid, budget: LocalOracle(service, uid, budget),
                val,
                layout,
                on_reports,
                time.monotonic,
                device,
                problems.real_images(space, dataset),
            )
        book.ended(config.uid, TrialStatus.FINISHED, error=done.note, weights_sha256=done.weights_sha256)
        reconcile(problem.teacher, service.count)
        manifest = manifest.model_copy(update={"teacher": card})
        finish(layout, manifest, book, problem.task, test, RunState.FINISHED)
    return book.records[config.uid]
