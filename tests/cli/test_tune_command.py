"""`raysys tune` and `raysys trial`: what they refuse, before any work."""

import json
from pathlib import Path

import pytest
import yaml
from edge_runs import build

from raysys.cli.app import main
from raysys.teacher.journal import FILE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for runs and cache; nobody else's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("RAYSYS_STORAGE", "RAYSYS_DATA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


REFUSED = [
    (["--space", "digitz"], 2, ["unknown space 'digitz'", "did you mean: digits?"]),
    ([], 2, ["no space given", "raysys spaces"]),
    (["--space", "digits", "-s", "gsteps=3"], 2, ["gsteps", "did you mean: g_steps?"]),
    (["--space", "digits", "-s", "g_steps=0"], 2, ["g_steps=0", "greater than or equal to 1"]),
    (["--space", "digits", "-s", "g_steps=many"], 2, ["g_steps='many'", "integer"]),
    (["--space", "digits", "-s", "g_steps"], 2, ["no value", "key=value"]),
    (["--space", "digits", "-s", "query_budget=50"], 2, ["query_budget=50", "batch_size=100"]),
    (["--space", "digits", "-s", "batch_size=123"], 2, ["123", "10 classes", "batch_size=120"]),
    (["--space", "digits", "--method", "ideel"], 2, ["unknown method 'ideel'", "did you mean: ideal?"]),
    (["--space", "digits", "--response", "loud"], 2, ["response", "hard", "soft"]),
    (["--space", "digits", "--queries-per-trial", "20"], 2, ["query_budget=20"]),
    (["--space", "digits", "-s", "student=lenet6"], 2, ["'lenet6'", "did you mean: lenet5?"]),
    (
        ["--space", "digits", "--scheduler", "query-asha", "-s", "query_budget=2000"],
        2,
        ["--scheduler query-asha has nothing to compare", "budgets are 2,000 to 2,000"],
    ),
    (["--space", "digits", "--max-queries", "900"], 2, ["cap of 900 queries pays", "at least 1097 queries"]),
    (["--space", "digits", "--max-cost", "5"], 2, ["--max-cost 5", "price=0.001"]),
    (["--space", "digits", "--max-cost", "nan", "-s", "price=1.0"], 2, ["--max-cost nan", "USD"]),
    (["--space", "digits", "--max-cost", "0", "-s", "price=1.0"], 2, ["--max-cost 0", "USD"]),
    (["--space", "digits", "--max-cost", "1", "-s", "price=0.001"], 2, ["cap of 1 USD pays", "held_out=N"]),
    (["--space", "digits", "-s", "price=-1.0"], 2, ["price", "greater than or equal to 0"]),
    (
        ["--space", "digits", "--teacher-url", "localhost:80"],
        2,
        ["teacher.http.url", "write http://localhost:80"],
    ),
    (
        ["--space", "digits", "--teacher-url", "http://me:pw@localhost"],
        2,
        ["teacher.http.url", "no password"],
    ),
    (["--space", "digits", "--teacher-model", "x"], 2, ["teacher.http.url is missing"]),
    (
        ["--space", "digits", "--teacher-url", "http://127.0.0.1:1", "-s", "teacher.http.retries=0"],
        6,
        ["http://127.0.0.1:1/v2 does not answer (asked once)", "no connection"],
    ),
    (
        ["--space", "digits", "-s", "teacher.replicas=0"],
        2,
        ["teacher.replicas", "greater than or equal to 1"],
    ),
    (["--space", "digits", "--time", "soon"], 2, ["--time soon", "30m"]),
    (["--space", "digits", "--pack", "0"], 2, ["--pack 0", "a number from 1 to 9999, or auto"]),
    (["--space", "digits", "--pack", "some", "--dry-run"], 2, ["--pack some"]),
    (["--resume", "runs/x", "--pack", "-2"], 2, ["--pack -2"]),
    (["--space", "digits", "--max-failures", "130%"], 2, ["--max-failures 130%"]),
    (["--space", "digits", "--name", "../up"], 2, ["'../up'", "letters"]),
    (["--space", "digits", "--storage", "s4://bucket/runs"], 2, ["s4://", "s3://BUCKET/PATH"]),
    (["--space", "digits", "--address", "127.0.0.1:1"], 6, ["no Ray cluster at 127.0.0.1:1"]),
    (["--space", "digits", "--address", "ray://127.0.0.1:1"], 2, ["Ray Client", "say --address auto there"]),
    (["--space", "digits", "--extend", "3"], 2, ["--resume"]),
    (["--space", "digits", "--trust-program"], 2, ["--trust-program", "--resume"]),
    (["--resume", "runs/x", "--space", "digits", "--seed", "1"], 2, ["--seed", "--resume"]),
    (
        ["--resume", "runs/x", "--dry-run", "-s", "lr=1", "--seed", "0"],
        2,
        ["--seed, --set", "--space checks"],
    ),
    (["--resume", "runs/x", "--dry-run"], 5, ["cannot resume", "no run.json"]),
    (["--resume", "runs/x"], 5, ["cannot resume", "no run.json"]),
    (
        ["--space", "mnist", "--data-root", "nowhere"],
        2,
        ["data set mnist not found", "nowhere", "--data-root"],
    ),
]


@pytest.mark.parametrize(("arguments", "code", "told"), REFUSED, ids=[" ".join(case[0]) for case in REFUSED])
def test_bad_input_is_refused_and_nothing_is_written(
    arguments: list[str], code: int, told: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", *arguments]) == code
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("error: ")
    for part in told:
        assert part in streams.err
    assert not (home / "runs").exists()


MADE = """
name: made
dataset: synthetic
task: {image_shape: [1, 30, 28], num_classes: 7}
teacher: {architecture: mlp, weights: lost.safetensors}
student: mlp
objectives: [{name: agreement, direction: maximize}, {name: queries, direction: minimize}]
options: {query_budget: 700, batch_size: 70}
parameters: {}
trials: 1
"""
"""A teacher that no image is there for, of seven classes and an odd side."""

UNFIT = [
    ("digits", ["--method", "dfme"], ["dfme cannot learn from a teacher that is hard", "--response soft"]),
    ("digits", ["-s", "query_budget=99"], ["query_budget=99", "batch_size=100"]),
    ("digits", ["-s", "labels=official", "-s", "query_budget=99"], ["query_budget=99", "batch_size=100"]),
    ("digits", ["-s", "labels=official", "-s", "epochs=401"], ["at most 400", "epochs=401"]),
    ("digits", ["-s", "confidence_filter=0.1"], ["would refuse every image", "published value is 0.7"]),
    ("digits", ["--method", "noise", "-s", "query_budget=0"], ["query_budget=0 of method noise"]),
    ("digits", ["--method", "surrogate", "-s", "query_budget=0"], ["query_budget=0 of method surrogate"]),
    (
        "digits",
        ["--method", "dfme", "--response", "soft", "-s", "query_budget=111"],
        ["must pay for one iteration", "= 112 queries, but got query_budget=111"],
    ),
    (
        "digits",
        ["--method", "db3kd", "-s", "query_budget=36"],
        ["query_budget=36 is less than one sample can cost", "37 queries", "-s distance=sample"],
    ),
    (
        "digits",
        ["--method", "zsdb3kd", "-s", "query_budget=52"],
        ["query_budget=52 is less than one sample can cost", "-s query_budget=53"],
    ),
    ("made.yaml", ["--method", "surrogate"], ["surrogate needs real images", "synthetic has none"]),
    ("made.yaml", ["--method", "db3kd"], ["db3kd needs real images", "synthetic has none"]),
    ("made.yaml", ["-s", "batch_size=100"], ["cannot make images of 30x28", "multiples of 4"]),
    ("made.yaml", ["--method", "dfme", "--response", "soft"], ["cannot make images of 30x28"]),
    (
        "made.yaml",
        ["-s", "batch_size=100", "-s", "task={image_shape: [1, 28, 28], num_classes: 7}"],
        ["batch_size=100 does not divide by the 7 classes", "-s batch_size=98"],
    ),
]
"""What a space or a teacher does not have for a method, or a budget does not pay for."""


@pytest.mark.parametrize("command", ["tune", "trial"])
@pytest.mark.parametrize(("space", "flags", "told"), UNFIT, ids=[" ".join(case[1]) for case in UNFIT])
def test_what_does_not_fit_a_method_is_refused_and_nothing_is_written(
    space: str,
    flags: list[str],
    told: list[str],
    command: str,
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (home / "made.yaml").write_text(MADE)
    assert main([command, "--space", space, "--smoke", *flags]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("error: ")
    for part in told:
        assert part in streams.err
    assert [path.name for path in home.iterdir()] == ["made.yaml"]


def test_an_existing_run_is_never_written_over(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = home / "runs" / "mine"
    mine.mkdir(parents=True)
    (mine / "note.txt").write_text("keep me")
    assert main(["tune", "--space", "digits", "--name", "mine"]) == 2
    assert main(["trial", "--space", "digits", "--name", "mine"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["note.txt"]


def test_a_corrupt_run_is_not_resumed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = home / "runs" / "bad"
    bad.mkdir(parents=True)
    (bad / "run.json").write_text("{")
    assert main(["tune", "--resume", str(bad)]) == 5
    assert "run.json" in capsys.readouterr().err
    assert (bad / "run.json").read_text() == "{"


def test_a_run_with_a_damaged_ledger_is_not_resumed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = build(home / "runs", "running")
    layout.ledger.mkdir()
    (layout.ledger / FILE).write_text("00000000 {}\n00000000 {}\n")
    assert main(["tune", "--resume", str(layout.root)]) == 5
    assert "the ledger is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["tune", "trial"])
def test_a_teacher_that_cannot_be_opened_leaves_no_run_behind(
    command: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = ["-s", "teacher={architecture: mlp, recipe: null, weights: lost.safetensors}"]
    assert main([command, "--space", "digits", *lost, "--name", "mine"]) == 2
    assert "no teacher at lost.safetensors" in capsys.readouterr().err
    assert not (home / "runs").exists()


def test_print_config_prints_a_space_that_can_be_used(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--space", "digits", "--print-config", "-s", "g_steps=7", "--trials", "3"]) == 0
    text = capsys.readouterr().out
    shown = yaml.safe_load(text)
    assert shown["options"]["g_steps"] == 7
    assert shown["trials"] == 3
    assert "g_steps" not in shown["parameters"]
    (home / "own.yaml").write_text(text)
    assert main(["tune", "--space", "own.yaml", "--dry-run"]) == 0


def test_settings_win_over_files_and_files_over_the_space(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "a.yaml").write_text("g_steps: 3\npasses: 4\n")
    (home / "b.yaml").write_text("passes: 6\n")
    files = ["-c", "a.yaml", "-c", "b.yaml"]
    assert main(["tune", "--space", "digits", "--print-config", *files, "-s", "g_steps=5"]) == 0
    options = yaml.safe_load(capsys.readouterr().out)["options"]
    assert (options["g_steps"], options["passes"]) == (5, 6)


@pytest.mark.parametrize("response", ["hard", "soft"])
def test_a_trial_charges_what_it_reports(
    response: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--smoke", "--queries-per-trial", "300", "--response", response, "--seed", "3"]
    assert main(["trial", "--space", "digits", *small, "--name", "one", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert set(one) >= {"uid", "method", "seconds", "test_accuracy", "agreement"}
    assert (one["response"], one["seed"], one["queries"]) == (response, 3, 300)
    assert main(["audit", "runs/one", "--json"]) == 0
    audit = json.loads(capsys.readouterr().out)
    assert (audit["charged"], audit["orphaned"], audit["mismatches"]) == (300 + 797, 0, [])
    assert main(["tune", "--resume", "runs/one"]) == 5
    assert "it is a single trial" in capsys.readouterr().err
    assert main(["trial", "--space", "digits", *small, "--name", "two", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights_sha256"] == one["weights_sha256"]


@pytest.mark.parametrize("origin", ["runs/one", "runs/none:u00000"])
def test_a_repeat_needs_a_trial_that_exists(origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trial", "--from", origin]) == 2
    assert capsys.readouterr().err.startswith("error: ")
