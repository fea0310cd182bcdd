"""`raysys teacher`: train, evaluate and serve the teacher of a space."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raysys.cli import output
from raysys.cli.common import DataRoot, Smoke, data_root_or_default
from raysys.errors import UsageError

if TYPE_CHECKING:
    from raysys.data.datasets import Dataset
    from raysys.space.schema import Space
    from raysys.teacher.training import Teacher

app = typer.Typer(help="Train, evaluate or serve the teacher of a space.")

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


@app.command()
def serve(
    space: SpaceName,
    data_root: DataRoot = None,
    smoke: Smoke = False,
    host: Annotated[str, typer.Option(help="the address to listen on; others than loopback need a key")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8000,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="never tell probabilities")] = False,
    counter: Annotated[
        Path | None, typer.Option(help="file that counts the images [default: one a teacher, in the cache]")
    ] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="the most images of one request")] = 4096,
    api_key_file: Annotated[
        Path | None, typer.Option(help="file with the API key to ask for [default: $RAYSYS_API_KEY, if set]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto | cpu | cuda | cuda:1 | ...")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of a forward")] = None,
    json: Annotated[bool, typer.Option("--json", help="once ready, print the URL as JSON")] = False,
) -> None:
    """Serve the teacher over HTTP (Open Inference Protocol v2) until Ctrl-C; train it first if need be.

    /metrics tells how many images of each run reached the teacher. No TLS: beyond this machine put a proxy
    before it.
    """
    import torch

    from raysys.teacher import server
    from raysys.teacher.counter_file import QueryCounter
    from raysys.teacher.local import TorchTeacher
    from raysys.teacher.training import default_cache_dir, find_or_train

    key = _api_key(api_key_file)
    device = _device(device)
    with server.listen(host, port, key is not None) as listener:
        chosen, dataset = _load(space, data_root, smoke, download=False)
        teacher = find_or_train(chosen.teacher, dataset, default_cache_dir(), _progress)
        if threads is not None:
            torch.set_num_threads(threads)
        model = TorchTeacher(teacher.module, device=device)
        file = counter or default_cache_dir() / "serve" / f"{teacher.card.id}.log"
        app = server.build_app(
            chosen.name,
            dataset.task,
            model.answer,
            QueryCounter(file),
            labels_only=labels_only,
            max_rows=max_rows,
            version=teacher.card.id,
            api_key=key,
        )
        url = server.url_of(listener)
        output.note(
            f"teacher {teacher.card.id} of space {chosen.name}, on {device}, answers at {url} until Ctrl-C",
            f"images are counted in {file}, and shown at {url}/metrics",
            f"raysys tune --space {space}{' --smoke' if smoke else ''} --teacher-url {url}",
        )
        if key:
            output.note("with the key in RAYSYS_API_KEY; from other machines through a proxy's https:// URL")
        if json:
            output.print_json({"url": url, "model": chosen.name, "pid": os.getpid()})
            sys.stdout.flush()
        server.serve(app, listener)


def _api_key(file: Path | None) -> str | None:
    """The key in `file`, else in the environment, else None. Raises UsageError."""
    from raysys.teacher.http_link import check_key

    if file is None:
        key = os.environ.get("RAYSYS_API_KEY", "").strip()
        if not key:
            return None
    else:
        try:
            key = file.expanduser().read_text().strip()
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read the API key in {file}", str(error)) from None
    check_key(key, str(file or "$RAYSYS_API_KEY"))
    return key


def _device(name: str) -> str:
    """The torch device that `name` means here. Raises UsageError for one that is not there."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        why = str(error).partition("\n")[0]
        raise UsageError(f"cannot use --device {name}", why, "use auto, cpu or cuda") from None
    return name


def _load(name: str, data_root: DataRoot, smoke: bool, download: bool) -> "tuple[Space, Dataset]":
    from raysys.cluster.plan import check_space
    from raysys.cluster.problem import read_dataset
    from raysys.space.load import load_space
    from raysys.space.load import smoke as shrink

    space = load_space(name)
    if smoke:
        space = shrink(space)
    if space.teacher.http is not None:
        raise UsageError(
            f"the teacher of space {space.name} is a server already",
            f"it answers at {space.teacher.http.url}; there are no weights here",
            f"raysys tune --space {name}",
        )
    return space, read_dataset(space, check_space(space), data_root_or_default(data_root), download)


def _progress(epoch: int, epochs: int, loss: float) -> None:
    if epoch % max(1, epochs // 10) == 0:
        output.note(f"teacher: epoch {epoch}/{epochs}, training loss {loss:.4f}")


def _print(
    space: "Space",
    dataset: "Dataset",
    teacher: "Teacher",
    val: float | None,
    test: float | None,
    json: bool,
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
        "accuracy  " + ("unknown" if val is None or test is None else f"val {val:.2%}, test {test:.2%}"),
        f"weights   sha256 {card['sha256']}",
    )
