"""`raysys teacher`: train and evaluate the teacher of a space."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysys.cli import output
from raysys.cli.common import DataRoot, Smoke, data_root_or_default
from raysys.errors import UsageError

if TYPE_CHECKING:
    from raysys.data.datasets import Dataset
    from raysys.space.schema import Space
    from raysys.teacher.training import Teacher

app = typer.Typer(help="Train or evaluate the teacher of a space.")

SpaceName = Annotated[str, typer.Option("--space", help="name of a shipped space, or a YAML file")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def train(
    space: SpaceName,
    data_root: DataRoot = None,
    smoke: Smoke = False,
    download: Annotated[bool, typer.Option("--download", help="fetch the data set if it is missing")] = False,
    json: Json = False,
) -> None:
    """Train the teacher by the space's recipe, unless the cache has it, and show its card."""
    from raysys.teacher.training import default_cache_dir, find_or_train

    chosen, dataset = _load(space, data_root, smoke, download)
    teacher = find_or_train(chosen.teacher, dataset, default_cache_dir(), _progress)
    card = teacher.card
    _print(chosen, dataset, teacher, card.val_accuracy, card.test_accuracy, json)


@app.command("eval")
def evaluate(space: SpaceName, data_root: DataRoot = None, smoke: Smoke = False, json: Json = False) -> None:
    """Measure the accuracy of a teacher that is trained already, or the space's own file."""
    from raysys.teacher.training import default_cache_dir, find, measure

    chosen, dataset = _load(space, data_root, smoke, download=False)
    teacher = find(chosen.teacher, dataset, default_cache_dir())
    if teacher is None:
        raise UsageError(
            f"the teacher of space {chosen.name} is not trained yet",
            f"nothing in {default_cache_dir()} fits its recipe and the data",
            f"raysys teacher train --space {space}{' --smoke' if smoke else ''}",
        )
    _print(chosen, dataset, teacher, *measure(teacher.module, dataset), json)


def _load(name: str, data_root: DataRoot, smoke: bool, download: bool) -> "tuple[Space, Dataset]":
    from raysys.cluster.plan import check_space
    from raysys.data.datasets import load_dataset
    from raysys.space.load import load_space
    from raysys.space.load import smoke as shrink

    space = load_space(name)
    if smoke:
        space = shrink(space)
    task = check_space(space)
    own = None if space.task is None else task
    root = data_root_or_default(data_root)
    return space, load_dataset(space.dataset, root, task=own, download=download)


def _progress(epoch: int, epochs: int, loss: float) -> None:
    if epoch % max(1, epochs // 10) == 0:
        output.note(f"teacher: epoch {epoch}/{epochs}, training loss {loss:.4f}")


def _print(
    space: "Space", dataset: "Dataset", teacher: "Teacher", val: float, test: float, json: bool
) -> None:
    card: dict[str, Any] = {
        **teacher.card.as_dict(),
        "val_accuracy": val,
        "test_accuracy": test,
        "space": space.name,
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
    }
    if json:
        output.print_json(card)
        return
    output.result(
        f"teacher {card['id']}: {card['architecture']} on {dataset.name}",
        f"accuracy  val {val:.2%}, test {test:.2%}",
        f"weights   sha256 {card['sha256']}",
    )
