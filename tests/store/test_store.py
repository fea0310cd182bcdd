import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from edge_runs import RUNS, UNLABELLED, build, config, manifest, replicate, report, trial, write_run
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from raysys.errors import CorruptRunError, StorageError, UsageError
from raysys.fronts.objectives import ACCURACY, QUERIES, Objective
from raysys.records import TrialRecord, TrialStatus
from raysys.store.layout import RunLayout
from raysys.store.manifest import SCHEMA_VERSION, RunState, read_manifest, write_manifest
from raysys.store.points import (
    front_json,
    member_uids,
    points_table,
    run_front,
    run_history,
    varying_parameters,
)
from raysys.store.reader import last_change, read_run, reports_of, trials_of
from raysys.store.runs import discover
from raysys.store.schema import SECONDS
from raysys.store.seconds import seconds_by
from raysys.store.writer import RunWriter


@pytest.fixture(params=["local folder", "other filesystem"])
def layout(request, tmp_path):
    """The same contract on a local path and through a `pyarrow.fs` filesystem."""
    if request.param == "local folder":
        layout = RunLayout.open(tmp_path / "run")
    else:
        layout = RunLayout(Path("storage/run"), SubTreeFileSystem(str(tmp_path), LocalFileSystem()))
    write_manifest(layout, manifest(trials=3))
    return layout


def test_a_trial_is_visible_at_once_and_comes_back_as_it_was(layout):
    own = config(7, balance=True, entropy="per_sample")
    record = TrialRecord(
        "u00007", 2, TrialStatus.FINISHED, own, 500, 0.9, 0.95, 0.89, 0.94, 12.5, "", "ef" * 32
    )
    RunWriter(layout).trial(record)
    assert read_run(layout).records() == [record]


def test_values_that_do_not_exist_stay_none(layout):
    RunWriter(layout).trial(trial(0, TrialStatus.RUNNING, val_accuracy=None))
    (record,) = read_run(layout).records()
    assert (record.val_accuracy, record.test_accuracy) == (None, None)


def test_a_later_state_of_a_trial_replaces_the_earlier_before_and_after_merging(layout):
    writer = RunWriter(layout)
    for number in range(3):
        writer.trial(trial(number, TrialStatus.RUNNING))
    writer.trial(trial(1, TrialStatus.FINISHED, queries=77))
    before = read_run(layout)
    writer.close()
    after = read_run(layout)
    assert before.records() == after.records()
    assert {r.uid: r.status for r in after.records()} == {
        "u00000": "running", "u00001": "finished", "u00002": "running",
    }  # fmt: skip
    assert len(trials_of(layout).files()) == 1


def test_a_resumed_attempt_beats_late_news_of_the_attempt_before(layout):
    writer = RunWriter(layout)
    second = TrialRecord("u00000", 2, TrialStatus.RUNNING, config(0), 300)
    writer.trial(second)
    writer.trial(trial(0, TrialStatus.FAILED))
    assert read_run(layout).records() == [second]


def test_reports_come_back_by_trial_and_step_the_later_of_equals_wins(layout):
    with RunWriter(layout) as writer:
        for number, step in ((0, 0), (1, 0), (0, 2), (0, 1)):
            writer.report(report(number, step))
        writer.flush()
        writer.report(report(0, 1, attempt=2, val_accuracy=0.77))
    rows = read_run(layout).reports.to_pylist()
    assert [(r["uid"], r["step"]) for r in rows] == [
        ("u00000", 0),
        ("u00000", 1),
        ("u00000", 2),
        ("u00001", 0),
    ]
    assert rows[1]["val_accuracy"] == 0.77
    assert rows[1]["loss.cross_entropy"] == 0.5


def test_reports_are_durable_before_the_trial_that_made_them(layout):
    writer = RunWriter(layout)
    writer.report(report(0, 0))
    assert read_run(layout).reports.num_rows == 0
    writer.trial(trial(0))
    assert read_run(layout).reports.num_rows == 1


def test_a_new_writer_goes_on_where_a_killed_one_left_off(layout):
    RunWriter(layout).trial(trial(0, TrialStatus.RUNNING))
    RunWriter(layout).trial(trial(0, TrialStatus.FINISHED))
    assert [record.status for record in read_run(layout).records()] == [TrialStatus.FINISHED]


def test_many_parts_are_merged_while_the_run_goes_on(layout):
    writer = RunWriter(layout)
    for number in range(300):
        writer.trial(trial(number % 7, queries=number))
    assert len(trials_of(layout).files()) < 100
    assert max(record.queries for record in read_run(layout).records()) == 299


def test_reports_of_an_older_raysys_are_of_no_milestone_and_say_nothing_of_their_time(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0), replicate(1, of=0)])
    (part,) = reports_of(layout).files()
    old = pq.read_table(part.path).drop_columns(["milestone", *SECONDS])
    pq.write_table(old, layout.reports / "part-00000001.parquet")
    Path(part.path).unlink()
    snapshot = read_run(layout)
    assert snapshot.skipped == 0
    assert not any(snapshot.reports["milestone"].to_pylist())
    assert seconds_by(snapshot.reports) == {}
    assert run_front(snapshot, "anytime").points.seeds.tolist() == [2, 2, 2]


def test_parameters_become_columns_and_mixed_types_text(layout):
    writer = RunWriter(layout)
    for number, value in enumerate((1, 0.5, "auto", True)):
        writer.trial(TrialRecord(f"u{number:05d}", 1, TrialStatus.RUNNING, config(number, mixed=value)))
    trials = read_run(layout).trials
    assert trials["param.mixed"].to_pylist() == ["1", "0.5", "auto", "true"]
    assert trials["param.g_steps"].to_pylist() == [10, 11, 12, 13]
    assert json.loads(trials["config"][1].as_py())["mixed"] == 0.5
    assert varying_parameters(read_run(layout)) == ["g_steps", "mixed"]


def test_a_damaged_part_is_skipped_and_counted(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0), trial(1)], merged=False)
    first = sorted(layout.trials.glob("part-*"))[0]
    first.write_bytes(first.read_bytes()[:-20])
    (layout.reports / "part-00000099.parquet").write_text("not parquet")
    (layout.trials / ".part-00000009.parquet.tmp").write_text("half a part")
    snapshot = read_run(layout)
    assert snapshot.skipped == 2
    assert [record.uid for record in snapshot.records()] == ["u00001"]


def test_merging_keeps_a_damaged_part_for_a_person_to_look_at(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0)], merged=False)
    (damaged,) = layout.trials.iterdir()
    damaged.write_text("?")
    with RunWriter(layout) as writer:
        writer.trial(trial(1))
        writer.trial(trial(2))
    assert damaged.read_text() == "?"
    assert {record.uid for record in read_run(layout).records()} == {"u00001", "u00002"}


def test_a_reader_whose_parts_are_merged_under_it_lists_again(tmp_path):
    layout = write_run(tmp_path / "run", [trial(0), trial(1)], merged=False)

    class MergedAfterListing(SubTreeFileSystem):
        done = False

        def open_input_file(self, path):
            if not MergedAfterListing.done:
                MergedAfterListing.done = True
                RunWriter(layout).close()
            return super().open_input_file(path)

    racing = MergedAfterListing(str(tmp_path), LocalFileSystem())
    assert len(read_run(RunLayout(Path("run"), racing)).records()) == 2
    assert MergedAfterListing.done


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_leaves_nothing_visible(tmp_path):
    RunWriter(RunLayout(tmp_path / "roomy")).trial(trial(0))
    (name,) = (path.name for path in (tmp_path / "roomy" / "trials").iterdir())
    layout = RunLayout(tmp_path / "run")
    layout.trials.mkdir(parents=True)
    (layout.trials / f".{name}.{socket.gethostname()}-{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=rf"the disk is full: .*{name} was not"):
        RunWriter(layout).trial(trial(0))
    assert list(layout.trials.iterdir()) == []


def test_a_write_that_fails_half_way_keeps_the_old_file(tmp_path):
    """The process may write 2 KiB a file: the larger manifest fails, the old one stays."""
    layout = RunLayout(tmp_path / "run")
    write_manifest(layout, manifest())
    script = (
        "import resource, signal, sys; from pathlib import Path; from edge_runs import manifest\n"
        "from raysys.store.layout import RunLayout; from raysys.store.manifest import write_manifest\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))\n"
        "write_manifest(RunLayout(Path(sys.argv[1])), manifest(seed=5, versions={'x': 'y' * 5000}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script, str(layout.root)], capture_output=True, text=True, env=environment
    )
    assert "StorageError: the disk is full" in done.stderr
    assert read_manifest(layout) == manifest()
    assert {path.name for path in layout.root.iterdir()} == {"run.json", "run.json.previous"}


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        RunWriter(RunLayout(tmp_path / "file")).trial(trial(0))


def test_the_manifest_comes_back_as_it_was(layout):
    full = manifest(state=RunState.CAPPED, caps={"queries": 5000}, versions={"ray": "2.60.0"}, charged=12)
    write_manifest(layout, full)
    assert read_manifest(layout) == full


@pytest.mark.parametrize(
    "content, why",
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError"),
        (json.dumps({"schema_version": 1}), "Field required"),
        (b"\xff\xfe\x00", "UnicodeDecodeError"),
    ],
)
def test_a_corrupt_manifest_is_told_with_its_path(content, why, tmp_path):
    path = tmp_path / "run.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorruptRunError, match=rf"cannot read {path}\n.*{why}") as failure:
        read_run(tmp_path)
    assert failure.value.exit_code == 2


def test_a_newer_run_is_refused(tmp_path):
    newer = {**manifest().model_dump(mode="json"), "schema_version": SCHEMA_VERSION + 1, "novelty": 1}
    (tmp_path / "run.json").write_text(json.dumps(newer))
    with pytest.raises(CorruptRunError, match="of a newer raysys"):
        read_run(tmp_path)


def test_a_folder_without_a_manifest_is_no_run(tmp_path):
    with pytest.raises(CorruptRunError, match="is no run"):
        read_run(tmp_path)


def test_a_running_trials_reports_say_what_is_charged(tmp_path):
    layout = write_run(tmp_path, [trial(0)], charged=0)
    with RunWriter(layout) as writer:
        writer.report(report(0, 5, queries=700))
        writer.report(report(1, 0, queries=40))  # of a trial whose row says nothing yet
    assert read_run(layout).charged == 700 + 40


def test_every_edge_case_run_is_listed_and_a_corrupt_one_with_its_problem(tmp_path):
    for name in RUNS:
        build(tmp_path, name)
    (tmp_path / "not a run").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    runs = {run.name: run for run in discover(tmp_path)}
    assert set(runs) == {*RUNS, "broken"}
    assert "cannot read" in runs["broken"].problem
    assert runs["none"].counts[TrialStatus.PENDING] == 8
    assert runs["three"].front == 3
    assert runs["three"].charged == 500 + 1000 + 1500
    assert list(runs)[-1] == "broken"


def test_a_missing_storage_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot list the runs in"):
        discover(tmp_path / "nowhere")


def test_pending_counts_the_planned_trials_without_a_row(tmp_path):
    counts = read_run(build(tmp_path, "running")).counts()
    assert (counts[TrialStatus.PENDING], counts[TrialStatus.RUNNING], counts[TrialStatus.STOPPED]) == (
        7,
        1,
        1,
    )


def test_any_write_moves_the_last_change(tmp_path):
    layout = build(tmp_path, "running")
    before = last_change(layout)
    RunWriter(layout).trial(trial(5))
    assert last_change(layout) > before


def test_the_front_of_a_run_as_json(tmp_path):
    snapshot = read_run(build(tmp_path, "three"))
    data = front_json(snapshot, run_front(snapshot))
    assert [(p["uid"], p["knee"], p["test_accuracy"]) for p in data["points"]] == [
        ("u00000", False, None), ("u00001", True, None), ("u00002", False, 0.955),
    ]  # fmt: skip
    assert data["points"][1]["config"] == {"g_steps": 11, "lr": 0.05, "schedule": "cosine"}
    assert data["reference"] == {"val_accuracy": 0.1, "queries": 2000}
    json.dumps(data, allow_nan=False)


def test_limits_cut_the_front_and_keep_its_volume(tmp_path):
    snapshot = read_run(build(tmp_path, "three"))
    whole = run_front(snapshot)
    part = whole.within(max_queries=1000, min_score=0.9)
    assert front_json(snapshot, part)["points"][0]["uid"] == "u00001"
    assert (len(part.members), part.hypervolume) == (1, whole.hypervolume)


def test_the_anytime_front_is_over_the_reports_of_all_trials(tmp_path):
    snapshot = read_run(build(tmp_path, "failed-only"))
    assert len(run_front(snapshot).members) == 0
    points = front_json(snapshot, run_front(snapshot, "anytime"), "anytime")["points"]
    assert points[0]["uid"] == "u00000"
    assert points[0]["config"]["g_steps"] == 10


def test_the_front_of_a_run_without_labels_is_by_agreement(tmp_path):
    snapshot = read_run(build(tmp_path, "no labels"))
    data = front_json(snapshot, run_front(snapshot))
    assert data["objectives"][0] == {"name": "agreement", "direction": "maximize"}
    assert data["reference"] == {"agreement": 0.1, "queries": 2000}
    assert [(p["uid"], p["agreement"], p["test_agreement"]) for p in data["points"]] == [
        ("u00000", 0.7, None), ("u00001", 0.9, 0.88),
    ]  # fmt: skip
    assert {(p["val_accuracy"], p["test_accuracy"]) for p in data["points"]} == {(None, None)}
    part = run_front(snapshot).within(max_queries=None, min_score=0.8)
    assert [p["uid"] for p in front_json(snapshot, part)["points"]] == ["u00001"]


def test_seeds_of_a_config_are_one_point_at_their_means(tmp_path):
    snapshot = read_run(build(tmp_path, "seeds"))
    front = run_front(snapshot)
    first, second = front_json(snapshot, front)["points"]
    assert (first["uid"], first["uids"], first["seeds"]) == ("u00000", ["u00000", "u00002"], 2)
    assert first["queries"] == 500.5
    assert first["val_accuracy"] == pytest.approx(0.85)
    assert first["val_accuracy_std"] == pytest.approx(0.1 / 2**0.5)  # two values that differ by 0.1
    assert first["test_accuracy"] == pytest.approx(0.75)
    assert (second["queries"], second["test_accuracy"], second["test_accuracy_std"]) == (1000, None, None)
    assert member_uids(snapshot, front) == [["u00000", "u00002"], ["u00001", "u00003"]]
    assert points_table(snapshot, front)["seeds"].to_pylist() == [2, 2]


def test_reports_of_seeds_at_one_step_are_one_point_of_the_anytime_front(tmp_path):
    layout = write_run(tmp_path, [trial(0), replicate(1, of=0), trial(2)], steps=0)
    with RunWriter(layout) as writer:
        writer.report(report(0, 0, queries=100, val_accuracy=0.5))
        writer.report(report(1, 0, queries=200, val_accuracy=0.6))
        writer.report(report(1, 0 + 1, queries=300, val_accuracy=0.7))
        writer.report(report(2, 0, queries=400, val_accuracy=0.9))
        writer.report(report(9, 0, queries=500, val_accuracy=0.95))  # of a trial that has no row yet
    snapshot = read_run(layout)
    points = front_json(snapshot, run_front(snapshot, "anytime"), "anytime")["points"]
    assert [(p["uids"], p["queries"]) for p in points] == [
        (["u00000", "u00001"], 150), (["u00001"], 300), (["u00002"], 400), (["u00009"], 500),
    ]  # fmt: skip
    assert points[0]["val_accuracy"] == pytest.approx(0.55)


def test_points_beyond_a_limit_of_the_space_are_on_no_front(tmp_path):
    limits = {"val_accuracy": 0.9, "queries": 1200}
    layout = write_run(tmp_path / "run", RUNS["three"][0], space={"name": "digits", "limits": limits})
    snapshot = read_run(layout)
    data = front_json(snapshot, run_front(snapshot))
    assert [point["uid"] for point in data["points"]] == ["u00001"]
    assert (data["outside"], data["limits"]) == (2, limits)


def test_seconds_may_be_a_third_objective(tmp_path):
    seconds = Objective("seconds", "minimize")
    records = [trial(0, seconds=9.0), trial(1, seconds=5.0), trial(2, seconds=6.0, val_accuracy=0.8)]
    layout = write_run(tmp_path / "run", records, objectives=(QUERIES, ACCURACY, seconds))
    snapshot = read_run(layout)
    data = front_json(snapshot, run_front(snapshot))
    assert [one["name"] for one in data["objectives"]] == ["val_accuracy", "queries", "seconds"]
    assert [(point["uid"], point["seconds"]) for point in data["points"]] == [
        ("u00000", 9.0),
        ("u00001", 5.0),
    ]


def test_trials_stand_in_the_order_of_their_ends_also_when_tested_later(tmp_path):
    layout = RunLayout(tmp_path)
    write_manifest(layout, manifest(trials=4))
    writer = RunWriter(layout)
    for number in range(4):
        writer.trial(trial(number, TrialStatus.RUNNING))
    writer.trial(trial(2, TrialStatus.STOPPED, queries=50))
    writer.trial(trial(3, queries=100, val_accuracy=0.7))
    writer.trial(trial(0, queries=300, val_accuracy=0.6))
    writer.trial(trial(1, queries=500, val_accuracy=0.9))
    writer.trial(trial(1, queries=500, val_accuracy=0.9, test_accuracy=0.8))
    writer.trial(trial(3, queries=100, val_accuracy=0.7, test_accuracy=0.7))
    for _ in range(2):  # before and after merging
        snapshot = read_run(layout)
        assert snapshot.trials["uid"].to_pylist() == ["u00002", "u00003", "u00000", "u00001"]
        assert snapshot.trials["test_accuracy"].to_pylist() == [None, 0.7, None, 0.8]
        history = run_history(snapshot)
        assert history.queries.tolist() == [50, 150, 450, 950]
        none, one, same, both = history.hypervolume.tolist()
        assert none == 0 < one == same < both == run_front(snapshot).hypervolume
        writer.close()


def test_what_has_no_finite_value_is_null_in_json(tmp_path):
    records = [trial(0, val_accuracy=float("nan"), agreement=0.7, test_accuracy=float("inf"))]
    snapshot = read_run(write_run(tmp_path / "run", records, **UNLABELLED))
    (point,) = front_json(snapshot, run_front(snapshot))["points"]
    assert (point["val_accuracy"], point["test_accuracy"], point["agreement"]) == (None, None, 0.7)
    json.dumps(point, allow_nan=False)
