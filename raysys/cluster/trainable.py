"""The Ray shell around one trial: translation only. `raysys trial` runs the same `run_one` without Ray."""

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from ray import tune

from raysys.cluster.one_trial import run_one
from raysys.cluster.outbox import Outbox
from raysys.distill.engine import ALONE, Engine
from raysys.errors import StorageError, UnreachableError
from raysys.files import read_bytes
from raysys.oracle import Images
from raysys.records import EvalSet, Report, Task, TrialConfig
from raysys.source import check_code
from raysys.store.layout import RunLayout
from raysys.teacher.actor import ActorOracle, Handle

Send = Callable[[dict[str, Any]], None]
"""Takes a result for Tune; when it returns, Tune has decided that the trial goes on."""


@dataclass(frozen=True)
class TrialContext:
    """What every trial of a run gets; `images`, real ones, only where the method needs them.

    `code` is the driver's `code_id`: a worker that has another raysys runs no trial.
    """

    layout: RunLayout
    task: Task
    val: EvalSet
    teacher: Handle
    threads: int
    device: str
    images: Images | None
    code: str


def trainable(config: Mapping[str, Any], context: TrialContext) -> None:
    """One trial on a worker of its own."""
    work(TrialConfig(**config), context, tune.report)


def work(trial: TrialConfig, context: TrialContext, send: Send, engine: Engine = ALONE) -> None:
    """One trial on a worker. Each result carries its new reports; the last one also a `status`."""
    torch.set_num_threads(context.threads)
    outbox = Outbox(lambda reports: send(_result(reports)), time.monotonic)
    try:
        check_code(context.code)
        _check_storage(context.layout)
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
            engine,
        )
    except (StorageError, UnreachableError) as error:
        # Not the trial's fault: the run should end, and a resume go on with the trial.
        outbox.flush()
        code = UnreachableError.exit_code if context.layout.uri else error.exit_code
        why = {"error": str(error), "exit_code": code}
        send({"uid": trial.uid, "reports": [], "status": "interrupted", **why})
        return
    except Exception:
        outbox.flush()
        raise
    last = _result(outbox.take() or outcome.reports[-1:])
    ended = {"status": "finished", "note": outcome.note, "weights_sha256": outcome.weights_sha256}
    send({**last, **ended})


def _check_storage(layout: RunLayout) -> None:
    """What a trial leaves in a folder that only its own node sees would be lost for the run."""
    if read_bytes(layout.filesystem, layout.run_json) is None:
        raise UnreachableError(
            f"the node {socket.gethostname()} does not see the run",
            f"there is no {layout.run_json}",
            "the runs must lie where all nodes see them, at the same path or a URI (raysys doctor --address"
            " looks), then: raysys tune --resume RUN",
        )


def _result(reports: Sequence[Report]) -> dict[str, Any]:
    last = reports[-1]
    values = {
        name: getattr(last, name) for name in ("uid", "queries", "val_accuracy", "agreement", "seconds")
    }
    return {**values, "reports": [asdict(report) for report in reports]}
