"""A whole run on Ray Tune, started anew or resumed.

Tune's own state is not used for a resume: the run's tables, checkpoints and ledger say what happened. A
resumed run rebuilds the searcher from the trials' records and starts a new Tuner; trials that had not
ended are suggested first, with their uid, and go on from their own checkpoint.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from raysys.cluster import problem as problems
from raysys.cluster.brakes import Ended
from raysys.cluster.caps import check_caps, run_caps
from raysys.cluster.early_stopping import plan_stopping
from raysys.cluster.final import crash_recorded
from raysys.cluster.lock import run_lock
from raysys.cluster.machine import Machine, check_address, claim
from raysys.cluster.plan import check_space
from raysys.cluster.resume_check import Wish, examine, refused
from raysys.cluster.search_plan import Search
from raysys.cluster.session import Session
from raysys.cluster.warm_start import earlier_trials
from raysys.space.schema import Space
from raysys.store.layout import RunLayout
from raysys.store.manifest import RunState, read_manifest, write_manifest
from raysys.store.warm_start import keep_earlier


def start_run(
    layout: RunLayout,
    space: Space,
    machine: Machine,
    search: Search,
    say: Callable[[str], None],
) -> Ended:
    """A new run. Raises UsageError before anything is written when it cannot be."""
    task = check_space(space)
    scheduler, milestones = plan_stopping(space, search.scheduler)
    earlier = earlier_trials(space, search.warm_start, say)
    problems.check_networks(space, task)
    dataset = problems.read_dataset(space, task, machine.data_root)
    problems.check_teacher(space, dataset)
    caps = run_caps(space, search.max_queries, search.max_cost)
    check_caps(caps, space, problems.held_out_queries(space, dataset))
    check_address(machine.address)
    claim(layout)
    say(f"run {layout.location}")
    if few := problems.few_held_out(space, dataset):
        say(few)
    manifest = problems.new_manifest(
        space,
        dataset,
        machine.data_root,
        name=layout.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=search.seed,
        sampler=search.sampler,
        trials=space.trials,
        caps=caps,
        preset=search.preset,
    )
    manifest = manifest.model_copy(
        update={
            "scheduler": scheduler,
            "milestones": milestones,
            "seeds": search.seeds,
            "warm_start": tuple(map(str, search.warm_start)),
        }
    )
    with run_lock(layout, say), crash_recorded(layout):
        if earlier:
            sha256 = keep_earlier(layout, earlier)
            manifest = manifest.model_copy(update={"warm_start_sha256": sha256})
        write_manifest(layout, manifest)
        session = Session(layout, manifest, space, dataset, machine, say)
        return session.go(session.prepare, [])


def resume_run(layout: RunLayout, machine: Machine, wish: Wish, say: Callable[[str], None]) -> Ended:
    """Go on with a run after any stop. Raises ResumeError when it cannot be: nothing is written then.

    What will be done is said before anything is.
    """
    check_address(machine.address)
    with refused():  # before the lock, which makes a file: nothing is written into what is no run
        was = read_manifest(layout).state
    with run_lock(layout, say):
        run = examine(layout, machine, wish)
        say("\n".join(run.plan.lines()))
        if run.plan.is_empty and was is RunState.FINISHED:
            say("nothing is left to do: --extend N adds trials")
            return Ended(RunState.FINISHED, 0, "")
        session = Session(layout, run.manifest, run.space, run.dataset, machine, say)
        problem = run.problem or session.prepare()  # what cannot go on leaves the run as it is
        with crash_recorded(layout):
            return session.go(lambda: problem, run.records)
