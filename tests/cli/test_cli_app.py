"""The frame of the command line: streams, exit codes, errors."""

import pytest
import typer

from raysys.cli import app as frame
from raysys.cli.app import main
from raysys.errors import CheckError


@pytest.fixture
def trial_app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """An app with the real frame and commands that end in every way."""
    app = typer.Typer()
    app.callback()(frame.options)
    monkeypatch.setattr(frame, "app", app)

    @app.command()
    def check() -> None:
        raise CheckError("the audit of runs/x does not hold", "2 charges are missing", "raysys audit runs/x")

    @app.command()
    def crash() -> None:
        raise ZeroDivisionError("division by zero\nsecond line")

    @app.command()
    def interrupt() -> None:
        raise KeyboardInterrupt

    @app.command()
    def cap() -> None:
        raise typer.Exit(4)

    @app.command()
    def fine() -> None:
        return

    return app


@pytest.mark.usefixtures("trial_app")
@pytest.mark.parametrize(
    ("command", "code"), [("fine", 0), ("crash", 1), ("check", 3), ("cap", 4), ("interrupt", 130)]
)
def test_exit_codes(command: str, code: int) -> None:
    assert main([command]) == code


@pytest.mark.usefixtures("trial_app")
def test_an_error_says_what_why_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check"])
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.splitlines() == [
        "error: the audit of runs/x does not hold",
        "  2 charges are missing",
        "  raysys audit runs/x",
    ]


@pytest.mark.usefixtures("trial_app")
def test_an_unexpected_error_is_one_line_and_a_traceback_on_demand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["crash"])
    told = capsys.readouterr().err
    assert told.startswith("error: ZeroDivisionError: division by zero\n")
    assert "run with -vv" in told
    assert "Traceback" not in told and "second line" not in told
    for argv in (["crash", "-vv"], ["-vv", "crash"], ["-v", "crash", "-v"]):
        assert main(argv) == 1
        assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["spce"], "spaces"),
        (["spaces", "--jsn"], "--json"),
        (["spaces", "a", "b"], "unexpected extra argument"),
    ],
)
def test_bad_usage_is_refused(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("error: ")
    assert message in streams.err


def test_no_command_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "spaces" in capsys.readouterr().out
