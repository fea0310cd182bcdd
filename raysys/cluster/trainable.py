"""The Ray shell around one trial: translation only. `raysys trial` runs the same `run_one` without Ray."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from ray import tune

from raysys.cluster.one_trial import run_one
from raysys.cluster.outbox import Outbox
from raysys.errors import StorageError, UnreachableError
from raysys.oracle import Images
from raysys.records import EvalSet, Report, Task, TrialConfig
from raysys.store.layout import RunLayout
from raysys.teacher.actor import ActorOracle, Handle


@dataclass(frozen=True)
class TrialContext:
    """What every trial of a run gets; `images`, real ones, only where the method needs them."""

    layout: RunLayout
    task: Task
    val: EvalSet
    teacher: Handle
    threads: int
    device: str
    images: Images | None


def trainable(config: Mapping[str, Any], context: TrialContext) -> None:
    """One trial on a worker. Each result carries its new reports; the last one also a `status`."""
    trial = TrialConfig(**config)
    torch.set_num_threads(context.threads)

    def send(reports: Sequence[Report]) -> None:
        tune.report(_result(reports))

    outbox = Outbox(send, time.monotonic)
    try:
        outcome = run_one(
            trial,
            context.task,
            lambda uid, budget: ActorOracle(context.teacher, uid, budget),
            context.val,
            context.layout,
            outbox.add,
            time.monotonic,
            context.device,
            context.images,
        )
    except (StorageError, UnreachableError) as error:
        # Not the trial's fault: the run should end, and a resume go on with the trial.
        outbox.flush()
        why = {"error": str(error), "exit_code": error.exit_code}
        tune.report({"uid": trial.uid, "reports": [], "status": "interrupted", **why})
        return
    except Exception:
        outbox.flush()
        raise
    last = _result(outbox.take() or outcome.reports[-1:])
    ended = {"status": "finished", "note": outcome.note, "weights_sha256": outcome.weights_sha256}
    tune.report({**last, **ended})


def _result(reports: Sequence[Report]) -> dict[str, Any]:
    last = reports[-1]
    values = {
        name: getattr(last, name) for name in ("uid", "queries", "val_accuracy", "agreement", "seconds")
    }
    return {**values, "reports": [asdict(report) for report in reports]}
