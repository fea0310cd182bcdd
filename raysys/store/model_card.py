"""Students that were kept, and their model card: what one imitates and reached, and how to load it."""

from pathlib import Path

from raysys.files import file_info, list_folder
from raysys.records import Task, TrialRecord
from raysys.store.layout import RunLayout
from raysys.store.reader import Snapshot

WEIGHTS, CONFIG, CARD = "weights.safetensors", "config.json", "README.md"

_TEXT = """\
# Student {uid} of the run {run}

A classifier that was trained by data-free distillation to imitate another one, its teacher, from the
teacher's answers alone: raysys {raysys}.

| | |
|---|---|
{rows}

Accuracy is the share of held-out images whose label it finds; agreement, the share to which it gives the
teacher's top-1 answer. The search looked at val; test was looked at once, at the end.

## Files
`{weights}` has the weights (safetensors); `{config}` the configuration of the trial, the shape of
the images and the number of classes.

## Load it
With raysys installed, in this folder:

```python
{snippet}
```

Pixels are in [0, 1]; normalisation is part of the network. It gives logits of {classes} classes.

## Limits of use
- It imitates the teacher, errors and biases included, and no better than the numbers above say.
- They are of held-out images of `{dataset}`: on others it may do worse, and so may its agreement.
- Its training looked at top-1 labels or probabilities of made-up images: its confidence is not calibrated,
  and it was not tested against images that are made to mislead it.
- Terms of the teacher's owner may say what a copy may be used for: ask before you ship it.
"""

_SNIPPET = """\
from pathlib import Path

import torch
from raysys.models.classifiers import build_classifier
from raysys.models.weights import load_safetensors
from raysys.records import Task

task = Task({dataset!r}, {shape}, {classes}, flip={flip})
student = build_classifier({architecture!r}, task, seed=0)
load_safetensors(student, Path("{weights}"))
student.eval()
images = torch.rand(2, {inner})  # two images, pixels in [0, 1]
with torch.no_grad():
    print(student(images).argmax(dim=1).tolist())"""


def kept_students(layout: RunLayout) -> list[str]:
    """The trials whose students are kept, by uid. Raises StorageError."""
    folders = [Path(info.path) for info in list_folder(layout.filesystem, layout.students("any").parent)]
    return sorted(folder.name for folder in folders if file_info(layout.filesystem, folder / WEIGHTS).is_file)


def model_card(snapshot: Snapshot, record: TrialRecord, task: Task) -> str:
    """The card in Markdown; what the run does not know is left out."""
    config, manifest = record.config, snapshot.manifest
    known = {
        "dataset": task.dataset,
        "classes": task.num_classes,
        "weights": WEIGHTS,
        "config": CONFIG,
    }
    snippet = _SNIPPET.format(
        architecture=config.student,
        shape=task.image_shape,
        inner=", ".join(map(str, task.image_shape)),
        flip=task.flip,
        **known,
    )
    rows = "\n".join(f"| {name} | {value} |" for name, value in _rows(snapshot, record, task).items())
    return _TEXT.format(
        uid=_plain(record.uid),
        run=_plain(snapshot.name),
        raysys=_plain(manifest.raysys),
        rows=rows,
        snippet=snippet,
        **known,
    )


def _rows(snapshot: Snapshot, record: TrialRecord, task: Task) -> dict[str, str]:
    config, manifest, card = record.config, snapshot.manifest, snapshot.manifest.teacher
    rows = {"architecture": _code(config.student), "input": f"{task.image_shape} pixels in [0, 1]"}
    if card is not None:
        rows |= {"teacher": f"{_code(card.id)}, {_code(card.architecture)}"}
        rows |= {"teacher's sha256": _code(card.sha256)} if card.sha256 else {}
        told = [
            f"{name} {value:.2%}"
            for name, value in (("val", card.val_accuracy), ("test", card.test_accuracy))
            if value is not None
        ]
        rows |= {"teacher's accuracy": ", ".join(told)} if told else {}
    digest = manifest.dataset.get("sha256")
    rows |= {
        "held-out images of": _code(task.dataset) + (f", sha256 {_code(digest)}" if digest else ""),
        "method": f"{_code(config.method)}, {_plain(config.response)} responses",
        "query budget": _number(config.options.get("query_budget")),
        "queries charged": f"{record.queries:,}",
        "seed": str(config.seed),
    }
    for name in ("val_accuracy", "test_accuracy", "agreement", "test_agreement"):
        value = getattr(record, name)
        words = "val agreement" if name == "agreement" else name.replace("_", " ")
        rows |= {} if value is None else {words: f"{value:.2%}"}
    return rows | {
        "weights' sha256": _code(record.weights_sha256),
        "code's sha256": _code(manifest.code),
        "run begun": _plain(manifest.created),
    }


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "not known"


def _code(text: str) -> str:
    return f"`{_plain(text)}`" if text else "not known"


def _plain(text: str) -> str:
    """Text that cannot end a cell, a line or a code span."""
    return " ".join(text.replace("`", "'").replace("|", "/").split())
