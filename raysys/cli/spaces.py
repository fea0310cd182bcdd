"""`raysys spaces`: what can be searched."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysys.cli import common, output
from raysys.errors import UsageError

if TYPE_CHECKING:
    from raysys.space.schema import Space, TeacherSpec


def spaces(
    name: Annotated[str | None, typer.Argument(help="A space to show, by name or file.")] = None,
    preset: common.Preset = None,
    method: common.Method = None,
    response: common.ResponseKind = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a space file, for editors.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the spaces, or show one: parameters, ranges, conditions, defaults, objectives, presets.

    With a preset or another method it is shown as `raysys tune` would search it then.
    """
    if schema:
        _print_schema()
        return
    from raysys.space.load import load_space, space_names, told_with_line

    changed = bool(preset or method or response)
    if name is None and changed:
        raise UsageError("no space given", hint="raysys spaces lists them")
    if name is None:
        _list([load_space(known) for known in space_names()], json)
        return
    from raysys.cluster.plan import check_space, with_preset
    from raysys.distill.options import method_options

    if method and response is None and method_options(method).soft_only:
        response = "soft"
    flags = {"method": method, "response": response}
    space = common.chosen_space(name, False, None, None, flags, None, preset)
    if changed:  # presets are of the space as it was
        space = space.model_copy(update={"presets": {}})
    for one in space.presets:
        with told_with_line(name, "presets", one):
            check_space(with_preset(space, one))
    if json:
        output.print_json(_as_json(space))
    else:
        _show(space)


def _print_schema() -> None:
    from raysys.cluster.space_schema import space_schema

    output.print_json(space_schema(), indent=2)


def _list(spaces: "list[Space]", json: bool) -> None:
    columns = ("name", "dataset", "parameters", "trials", "description")
    rows = [(one.name, one.dataset, len(one.parameters), one.trials, one.description) for one in spaces]
    if json:
        output.print_json({"spaces": [dict(zip(columns, row, strict=True)) for row in rows]})
    else:
        output.table(columns, rows)


def _as_json(space: "Space") -> dict[str, Any]:
    """The space with its defaults: what the method takes where nothing is fixed or searched."""
    from raysys.space.load import to_json

    return {**to_json(space), "defaults": _defaults(space)}


def _defaults(space: "Space") -> dict[str, Any]:
    from raysys.distill.options import method_options

    fields = method_options(space.method).model_fields
    return {name: field.default for name, field in fields.items()}


def _show(space: "Space") -> None:
    from raysys.cluster.plan import most_held_out
    from raysys.distill.options import described, method_options

    fields = method_options(space.method).model_fields
    teacher, most = space.teacher, most_held_out(space)
    held_out = "" if most is None else f", at most {most:,} held-out images"
    objectives = ", ".join(f"{one.direction} {one.name}" for one in space.objectives)
    limits = _limits(space)
    output.result(
        f"{space.name}: {space.description}",
        f"dataset     {space.dataset}{held_out}",
        f"teacher     {_source(teacher)}, {space.response} labels",
        f"student     {space.student}, method {described(space.method)}",
        f"objectives  {objectives}",
        *([f"limits      {limits}"] if limits else []),
        f"trials      {space.trials}",
        "",
    )
    rows = []
    for name, parameter in space.parameters.items():
        option = space.option(name)
        when = " and ".join(f"{key} = {_text(value)}" for key, value in parameter.when.items())
        default = fields[option].default
        rows.append((name, _range(parameter), when, _text(default), fields[option].description))
    output.table(("searched", "range", "when", "default", "what it is"), rows)
    fixed = [(key, _text(value), fields[key].description) for key, value in space.options.items()]
    if fixed:
        output.result("")
        output.table(("fixed", "value", "what it is"), fixed)
    decided = {*space.options, *map(space.option, space.parameters)}
    others = [(key, _text(one.default), one.description) for key, one in fields.items() if key not in decided]
    if others:
        output.result("")
        output.table(("not said", "default", "what it is"), others)
    for number, point in enumerate(space.points, start=1):
        values = ", ".join(f"{key}={_text(value)}" for key, value in point.values.items())
        output.result("", f"point {number}, {point.label}: {values}")
    for preset, overrides in space.presets.items():
        values = ", ".join(f"{key}={_text(value)}" for key, value in overrides.items())
        output.result("", f"preset {preset}: {values}")


def _limits(space: "Space") -> str:
    """What a trial must reach, as `val_accuracy >= 0.6, queries <= 4000`."""
    signs = {one.name: ">=" if one.direction == "maximize" else "<=" for one in space.objectives}
    return ", ".join(f"{name} {signs[name]} {limit}" for name, limit in space.limits.items())  # type: ignore[index]


def _source(teacher: "TeacherSpec") -> str:
    if teacher.http is not None:
        return teacher.http.url
    if teacher.recipe is not None:
        return f"{teacher.architecture} trained for {teacher.recipe.epochs} epochs"
    return teacher.program or f"{teacher.architecture} {teacher.weights}"


def _range(parameter: Any) -> str:
    if parameter.type == "categorical":
        return _text(parameter.choices)
    scale = ", log" if parameter.log else ""
    step = f", step {parameter.step}" if parameter.step not in (None, 1) else ""
    return f"{parameter.low} to {parameter.high}{step}{scale}"


def _text(value: Any) -> str:
    """A value as YAML writes it; several with `or`."""
    if isinstance(value, list):
        return " or ".join(_text(one) for one in value)
    if value is None:
        return "default"
    return str(value).lower() if isinstance(value, bool) else str(value)
