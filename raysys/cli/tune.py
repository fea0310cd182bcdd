"""`raysys tune`: the main job."""

import shlex
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from raysys.cli import common, output
from raysys.cli.summary import print_summary
from raysys.errors import StorageError, UnreachableError, UsageError

if TYPE_CHECKING:
    from raysys.cluster.brakes import Ended
    from raysys.cluster.machine import Machine
    from raysys.cluster.resume_check import Wish
    from raysys.cluster.search_plan import Search
    from raysys.space.schema import Space
    from raysys.store.layout import RunLayout

WITH_RESUME = (
    *(
        "resume",
        "extend",
        "retry_failed",
        "trust_program",
        "time",
        "concurrent",
        "pack",
        "address",
        "data_root",
        "teacher_url",
        "max_queries",
        "max_cost",
        "max_failures",
    ),
    *("progress", "json", "dry_run"),
)
"""Options that a resumed run takes: where and how long it works. What it does was fixed at its start."""

OF_SPACE = (
    "space",
    "preset",
    "method",
    "response",
    "queries_per_trial",
    "settings",
    "config",
    "smoke",
    "teacher_model",
)
"""Options that name a space: with --resume and --space, they say which one the run must have."""


class Sampler(StrEnum):
    """Optuna's samplers."""

    TPE = "tpe"
    NSGA2 = "nsga2"
    GP = "gp"
    RANDOM = "random"


class Scheduler(StrEnum):
    """Which trials are stopped early."""

    QUERY_ASHA = "query-asha"
    NONE = "none"


class Progress(StrEnum):
    """How a run tells how far it is."""

    AUTO = "auto"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


def tune(
    context: typer.Context,
    space: common.SpaceName = None,
    trials: Annotated[int | None, typer.Option(min=1, help="trials [default: the space's]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the whole run")] = 0,
    preset: common.Preset = None,
    method: common.Method = None,
    response: common.ResponseKind = None,
    queries_per_trial: common.PerTrial = None,
    max_queries: Annotated[
        int | None, typer.Option(min=1, help="the most queries of the whole run, evaluation included")
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(metavar="USD", help="the most money of the whole run, by the space's price of a query"),
    ] = None,
    teacher_url: common.TeacherUrl = None,
    teacher_model: common.TeacherModel = None,
    time: Annotated[str | None, typer.Option(help="end softly after 90s, 30m, 8h")] = None,
    sampler: Annotated[Sampler, typer.Option(help="Optuna's sampler")] = Sampler.TPE,
    scheduler: Annotated[
        Scheduler | None,
        typer.Option(
            help="query-asha: at milestones, trials that lag are stopped [default: where budgets differ]"
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, metavar="K", help="trials with other seeds that a config on the front gets")
    ] = 1,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", help="learn from the trials of an earlier run; may be repeated"),
    ] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="trials at once [default: what fits]")] = None,
    pack: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="trials that share a process, and the CPUs and GPUs of one trial: faster on a GPU, not on"
            " CPUs; auto: as many as the GPU's memory takes",
        ),
    ] = "1",
    cpus_per_trial: common.Cpus = None,
    gpus_per_trial: Annotated[float | None, typer.Option(min=0, help="GPUs of a trial, e.g. 0.25")] = None,
    address: Annotated[str, typer.Option(help="local, auto or HOST:PORT of a Ray cluster")] = "local",
    storage: common.Storage = "runs",
    name: common.Name = None,
    data_root: common.DataRoot = None,
    settings: common.Settings = None,
    config: common.Files = None,
    smoke: common.Smoke = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan and stop")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="print the space and stop")] = False,
    max_failures: Annotated[str, typer.Option(help="share of trials that may fail")] = "10%",
    progress: Annotated[Progress, typer.Option(help="auto: a live line on a terminal")] = Progress.AUTO,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="go on with a run after any stop")] = None,
    extend: Annotated[int, typer.Option(min=0, help="with --resume: that many more trials")] = 0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="with --resume: failed trials go on as well")
    ] = False,
    trust_program: common.TrustProgram = False,
    json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Explore how good a student you get for how many queries, and print the Pareto front.

    Each trial distils one student from the shared teacher; every image sent is charged in the run's
    ledger. Ctrl-C ends the run softly; --resume goes on with it.
    """
    from raysys.store.layout import RunLayout

    time_s = common.parse_duration(time) if time else None
    share = common.parse_share(max_failures)
    together = common.parse_pack(pack)
    if resume is not None:
        _refuse_with_resume(context, space is not None)
        layout = RunLayout.open(resume)
    elif extend or retry_failed or trust_program:
        raise UsageError("--extend, --retry-failed and --trust-program need --resume RUN")
    chosen: Space | None = None
    if resume is None or space is not None:
        flags = {
            "trials": trials,
            "method": method,
            "response": response,
            "resources.cpus_per_trial": cpus_per_trial,
            "resources.gpus_per_trial": gpus_per_trial,
            **common.behind_http(teacher_url, teacher_model),
        }
        chosen = common.chosen_space(space, smoke, config, settings, flags, queries_per_trial, preset)
    if resume is None:
        assert chosen is not None
        if print_config:
            return _print_config(chosen)
        layout = common.new_run(storage, name, chosen.name, "-smoke" if smoke else "")
        from raysys.cluster.search_plan import Search

        search = Search(
            seed=seed,
            sampler=sampler.value,
            scheduler=None if scheduler is None else scheduler.value,
            seeds=seeds,
            warm_start=tuple(RunLayout.open(run).location for run in warm_start or ()),
            max_queries=max_queries,
            max_cost=max_cost,
            preset=preset or "",
        )
        if dry_run:
            from raysys.cli.dry_run import show_plan

            return show_plan(chosen, layout, search, concurrent, together, address, json)

    from raysys.cluster.machine import Machine
    from raysys.cluster.signals import exit_code, terminable
    from raysys.teacher.training import default_cache_dir

    machine = Machine(
        data_root=common.data_root_or_default(data_root),
        cache=default_cache_dir(),
        address=address,
        concurrent=concurrent,
        pack=together,
        time_s=time_s,
        max_failures=share,
        progress=progress.value,
    )
    try:
        with terminable():
            if resume is not None:
                from raysys.cluster.resume_check import Wish

                wish = Wish(
                    own_data_root=data_root is None,
                    teacher_url=teacher_url,
                    max_queries=max_queries,
                    max_cost=max_cost,
                    extend=extend,
                    retry_failed=retry_failed,
                    trust_program=trust_program,
                    space=chosen,
                )
                if dry_run:
                    return _show_resume(layout, machine, wish, json)
                ended = _resume(layout, machine, wish)
            else:
                assert chosen is not None
                ended = _start(layout, chosen, machine, search)
    except KeyboardInterrupt as end:
        output.note(f"interrupted; go on with:  raysys tune --resume {shlex.quote(layout.location)}")
        raise typer.Exit(exit_code(end)) from None
    except (StorageError, UnreachableError):
        if resume is not None or _has_begun(layout):
            output.note(f"go on with:  raysys tune --resume {shlex.quote(layout.location)}")
        raise
    print_summary(layout, ended, json)
    raise typer.Exit(ended.exit_code)


def _has_begun(layout: "RunLayout") -> bool:
    """True when there is a run to go on with, or its storage does not tell."""
    from raysys.files import file_info

    try:
        return bool(file_info(layout.filesystem, layout.run_json).is_file)
    except StorageError:
        return True


def _start(layout: "RunLayout", space: "Space", machine: "Machine", search: "Search") -> "Ended":
    from raysys.cluster.experiment import start_run

    return start_run(layout, space, machine, search, output.note)


def _resume(layout: "RunLayout", machine: "Machine", wish: "Wish") -> "Ended":
    from raysys.cluster.experiment import resume_run

    return resume_run(layout, machine, wish, output.note)


def _show_resume(layout: "RunLayout", machine: "Machine", wish: "Wish", json: bool) -> None:
    """What a resume would do. Nothing is written, no Ray is started, no teacher is asked."""
    from raysys.cluster.resume_check import examine
    from raysys.store.driver import read_driver

    plan = examine(layout, machine, wish).plan
    if json:
        output.print_json(plan.as_dict())
    else:
        output.result(*plan.lines())
        if (driver := read_driver(layout)) is not None and driver.alive:
            output.note(f"{driver} works on this run: a resume is refused until it has ended")
        output.note("nothing was written")


def _refuse_with_resume(context: typer.Context, checks_space: bool) -> None:
    allowed = (*WITH_RESUME, *(OF_SPACE if checks_space else ()))
    flags = [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name not in allowed and _was_given(context, str(parameter.name))
    ]
    if flags:
        raise UsageError(
            f"{', '.join(flags)} cannot be used with --resume",
            "a resumed run keeps its space, seed, trials and name",
            "leave it out; --extend N adds trials, --space checks that the space is still the run's",
        )


def _was_given(context: typer.Context, name: str) -> bool:
    """True when the option stands on the command line: the environment's are no wish for this run."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _print_config(space: "Space") -> None:
    import yaml

    from raysys.space.load import to_json

    output.result(yaml.safe_dump(to_json(space), sort_keys=False, allow_unicode=True).rstrip())
