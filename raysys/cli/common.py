"""Options that `tune` and `trial` share, and how they change a space. No torch, no ray."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysys.errors import UsageError

if TYPE_CHECKING:
    from raysys.space.schema import Space
    from raysys.store.layout import RunLayout

SpaceName = Annotated[str | None, typer.Option("--space", help="name of a shipped space, or a YAML file")]
Preset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="fix what the space's preset NAME says (raysys spaces NAME)"),
]
Settings = Annotated[
    list[str] | None, typer.Option("-s", "--set", metavar="KEY=VALUE", help="fix a parameter, option or key")
]
Files = Annotated[list[Path] | None, typer.Option("-c", "--config", help="a YAML file of such keys")]
Method = Annotated[str | None, typer.Option(help="the distillation method")]
ResponseKind = Annotated[str | None, typer.Option(help="what the teacher answers: hard | soft")]
PerTrial = Annotated[
    int | None, typer.Option(min=1, help="the most queries one trial may spend (fixes or cuts query_budget)")
]
DataRoot = Annotated[
    Path | None, typer.Option(help="folder of data sets", envvar="RAYSYS_DATA_ROOT", show_envvar=True)
]
Storage = Annotated[str, typer.Option(envvar="RAYSYS_STORAGE", help="the folder or URI that holds the runs")]
Name = Annotated[str | None, typer.Option(help="the run's name [default: SPACE-UTC time]")]
Cpus = Annotated[float | None, typer.Option(min=0, help="CPUs of a trial; its threads")]
TeacherUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="a teacher behind HTTP (Open Inference Protocol v2), for the space's own"
    ),
]
TeacherModel = Annotated[str | None, typer.Option(help="with --teacher-url: the model's name there [SPACE]")]
TrustProgram = Annotated[
    bool,
    typer.Option("--trust-program", help="a run's own torch.export teacher may be opened: it can run code"),
]
Smoke = Annotated[bool, typer.Option("--smoke", help="shrink the space so that it ends in minutes")]


def chosen_space(
    name: str | None,
    smoke: bool,
    files: Sequence[Path] | None,
    settings: Sequence[str] | None,
    flags: dict[str, Any],
    per_trial: int | None,
    preset: str | None = None,
) -> "Space":
    """The space with all that the command line changes: `-s` over flags, `-c`, `--smoke` and the preset.

    It is checked against its method and data set. Raises UsageError, SpaceError.
    """
    from raysys.cluster.plan import check_space, with_method, with_preset
    from raysys.distill.options import method_options
    from raysys.space import load

    if name is None:
        raise UsageError("no space given", hint="use --space NAME; raysys spaces lists them")
    space = load.load_space(name)
    if preset is not None:
        with load.told_with_line(name, "presets", preset):
            space = with_preset(space, preset)
        if (method := flags.get("method") or space.method) != space.method:
            raise UsageError(
                f"preset {preset} is of method {space.method}, not of {method}",
                "a preset says all that its method is to do",
                "leave out --preset or --method",
            )
    given = {key: value for key, value in flags.items() if value is not None}
    layers = [(str(file), load.read_overrides(file)) for file in files or []]
    layers += [("command line", given), ("-s", load.parse_settings(settings or []))]
    methods = [str(overrides["method"]) for _, overrides in layers if "method" in overrides]
    space = with_method(space, methods[-1] if methods else space.method)
    known = method_options(space.method).model_fields
    if smoke:
        space = load.smoke(space)
    for source, overrides in layers:
        space = load.apply_overrides(space, {**overrides, "method": space.method}, known, source)
    if per_trial is not None:
        space = load.apply_overrides(space, {"query_budget": _capped(space, per_trial)}, known)
    check_space(space)
    return space


def behind_http(url: str | None, model: str | None) -> dict[str, Any]:
    """The override that puts a teacher behind HTTP in the place of the space's own. Raises UsageError.

    One that is behind HTTP already is asked elsewhere: its other keys stay.
    """
    if url is None:
        return {} if model is None else {"teacher.http.model": model}
    nothing = dict.fromkeys(("architecture", "recipe", "weights", "program"))
    http = {"url": url} if model is None else {"url": url, "model": model}
    return {"teacher": {**nothing, "replicas": 1, "http": http}}


def _capped(space: "Space", most: int) -> Any:
    """`query_budget` with no value above `most`: a shorter range, or that number."""
    parameter = space.parameters.get("query_budget")
    if parameter is None or parameter.type != "int" or parameter.low >= most:
        return most
    return {**parameter.model_dump(), "high": min(parameter.high, most)}


def data_root_or_default(root: Path | None) -> Path:
    """The folder of data sets."""
    from raysys.data.datasets import default_data_root

    return (root or default_data_root()).expanduser().absolute()


def new_run(storage: str, name: str | None, space: str, suffix: str = "") -> "RunLayout":
    """Where a new run will lie. Raises UsageError for a name that is no plain folder name, and as `open`."""
    from raysys.store.layout import RunLayout, inside

    chosen = name or f"{space}{suffix}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if not re.fullmatch(r"[\w][\w .+=-]*", chosen):
        raise UsageError(
            f"the run's name {chosen!r} cannot be used",
            "it becomes a folder below --storage",
            "use letters, digits, '.', '_' and '-'",
        )
    return RunLayout.open(inside(storage, chosen))


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `30m`, `8h`, `2d` or a number of seconds. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not match or float(match[1]) <= 0:
        raise UsageError(f"--time {text} is no duration", hint="write 90s, 30m, 8h or 2d")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def parse_share(text: str) -> float:
    """A share in [0, 1] of `10%` or `0.1`. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--max-failures {text} is no share", hint="write 10% or 0.1")
    return share


def parse_pack(text: str) -> int | None:
    """Trials that share a process, at least 1; None for `auto`. Raises UsageError."""
    if text == "auto":
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise UsageError(
            f"--pack {text} is no number of trials", hint="write a number from 1 to 9999, or auto"
        )
    return int(text)
