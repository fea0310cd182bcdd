"""`raysys trial`: one trial in this process."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raysys.cli import common, output
from raysys.errors import UsageError

if TYPE_CHECKING:
    from raysys.records import Report, TrialConfig, TrialRecord
    from raysys.space.schema import Space
    from raysys.store.layout import RunLayout

RESULTS = (
    "queries",
    "val_accuracy",
    "test_accuracy",
    "agreement",
    "test_agreement",
    "weights_sha256",
    "seconds",
)


def trial(
    space: common.SpaceName = None,
    origin: Annotated[
        str | None, typer.Option("--from", metavar="RUN:UID", help="repeat this trial of a run")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="the trial's seed [default: 0, or RUN:UID's]")
    ] = None,
    preset: common.Preset = None,
    method: common.Method = None,
    response: common.ResponseKind = None,
    queries_per_trial: common.PerTrial = None,
    cpus_per_trial: common.Cpus = None,
    teacher_url: common.TeacherUrl = None,
    teacher_model: common.TeacherModel = None,
    storage: common.Storage = "runs",
    name: common.Name = None,
    data_root: common.DataRoot = None,
    settings: common.Settings = None,
    config: common.Files = None,
    smoke: common.Smoke = False,
    trust_program: common.TrustProgram = False,
    ask_again: Annotated[
        bool, typer.Option("--ask-again", help="with --from: pay a teacher behind HTTP for the repeat")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Run one trial in this process: no Ray, the same code, files and ledger as a trial of `tune`.

    Parameters that nothing fixes take the values of the space's first point. With the config, seed and
    threads of a trial of `tune` the student and the charges are the same.
    """
    if origin is not None:
        given: dict[str, object] = {
            "--space": space,
            "--preset": preset,
            "--method": method,
            "--response": response,
        }
        given |= {"--queries-per-trial": queries_per_trial, "-s": settings, "-c": config}
        given |= {"--smoke": smoke, "--cpus-per-trial": cpus_per_trial}
        given |= {"--teacher-url": teacher_url, "--teacher-model": teacher_model}
        clash = [flag for flag, value in given.items() if value]
        if clash:
            raise UsageError(f"{', '.join(clash)} cannot be used with --from", "a repeat changes nothing")
        chosen, wanted, own_root, sha256, preset = _repeated(origin, seed, trust_program)
        data_root = data_root or own_root
        if chosen.teacher.http is not None and not ask_again:
            raise UsageError(
                f"a repeat asks {chosen.teacher.http.url} for every answer again",
                "it is a run of its own, with its own ledger",
                "if that is worth its price: --ask-again",
            )
    else:
        if trust_program:
            raise UsageError("--trust-program needs --from RUN:UID")
        flags = {"method": method, "response": response, "resources.cpus_per_trial": cpus_per_trial}
        flags |= common.behind_http(teacher_url, teacher_model)
        chosen = common.chosen_space(space, smoke, config, settings, flags, queries_per_trial, preset)
        wanted = _first(chosen, 0 if seed is None else seed)
    layout = common.new_run(storage, name, chosen.name, "-trial")
    record = _run(layout, chosen, wanted, common.data_root_or_default(data_root), preset or "")
    if record.error:
        output.warning(record.error)
    from raysys.store.layout import inside
    from raysys.store.reader import read_run
    from raysys.store.seconds import seconds_by, shares

    seconds = seconds_by(read_run(layout).reports)
    if json:
        told = {name: getattr(wanted, name) for name in ("uid", "method", "response", "seed")}
        results = {name: getattr(record, name) for name in RESULTS}
        # NaN, which is no number to itself, is what a diverged student reaches; JSON has none.
        told |= {name: value if value == value else None for name, value in results.items()}
        output.print_json(told | {"seconds_by": seconds})
        return
    rows = [
        ("queries", f"{record.queries:,}"),
        ("val accuracy", output.share(record.val_accuracy)),
        ("test accuracy", output.share(record.test_accuracy)),
        ("val agreement", output.share(record.agreement)),
        ("test agreement", output.share(record.test_agreement)),
        ("time", shares(seconds)),
        ("weights sha256", record.weights_sha256),
        ("student", inside(inside(layout.location, "students"), record.uid)),
    ]
    output.table(("", ""), rows)
    if origin is not None and seed is None and sha256:
        output.note(
            f"the same student as {origin}, {sha256[:12]}"
            if record.weights_sha256 == sha256
            else f"another student than {origin}, {sha256[:12]}: that was made in a pack, or with another"
            " machine, thread count or torch"
        )


def _run(
    layout: "RunLayout", space: "Space", config: "TrialConfig", data_root: Path, preset: str
) -> "TrialRecord":
    from raysys.cluster.in_process import Watcher, run_in_process
    from raysys.cluster.machine import Machine
    from raysys.cluster.signals import exit_code, terminable
    from raysys.teacher.training import default_cache_dir

    def on_report(report: "Report") -> None:
        output.note(
            f"step {report.step:3d}  {report.queries:6,} queries  pool {report.pool_size:6,}"
            f"  val {output.share(report.val_accuracy)}  agreement {output.share(report.agreement)}"
            f"  {report.seconds:5.1f} s"
        )

    machine = Machine(data_root=data_root, cache=default_cache_dir())
    watcher = Watcher(output.note, on_report)
    try:
        with terminable():
            return run_in_process(layout, space, config, machine, watcher, preset)
    except KeyboardInterrupt as end:
        repeat = f"raysys trial --from {shlex.quote(layout.location)}:{config.uid}"
        output.note(
            f"interrupted; what was asked is in the run's ledger. Once more, in a run of its own:  {repeat}"
        )
        raise typer.Exit(exit_code(end)) from None


def _first(space: "Space", seed: int) -> "TrialConfig":
    """The config of the space's first point; what it leaves open is drawn as the search would draw it."""
    from raysys.cluster.problem import complete_config
    from raysys.search.study_searcher import StudySearcher

    suggestion = StudySearcher(space, "random", seed).ask()
    return complete_config(space, dict(suggestion.values), suggestion.uid, seed)


def _repeated(
    origin: str, seed: int | None, trust_program: bool
) -> "tuple[Space, TrialConfig, Path, str, str]":
    """Space and config of a trial of a run, its data root, the student's hash, and the run's preset."""
    from dataclasses import replace

    from raysys.cluster.early_stopping import with_milestones
    from raysys.space.load import from_json
    from raysys.store.reader import read_run

    run, colon, uid = origin.rpartition(":")
    if not colon:
        raise UsageError(f"--from {origin} names no trial", hint="write --from RUN:UID, e.g. runs/x:u00003")
    snapshot = read_run(run)
    records = {record.uid: record for record in snapshot.records()}
    if uid not in records:
        raise UsageError(f"{run} has no trial {uid}", f"it has {', '.join(records) or 'none'}")
    config = with_milestones(records[uid].config, snapshot.manifest)
    if seed is not None:
        config = replace(config, seed=seed)
    space, root = from_json(snapshot.manifest.space, trust_program), snapshot.manifest.dataset["root"]
    return space, config, Path(root), records[uid].weights_sha256, snapshot.manifest.preset
