"""How a task's images go into the tensors of a model of the Open Inference Protocol, and what comes out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raysys.errors import UsageError
from raysys.oracle import Images, Response
from raysys.records import Task
from raysys.space.schema import HttpSpec
from raysys.teacher.infer_v2 import DATATYPES, ModelMetadata, Tensor, TensorMetadata, WireError

SUM_TOLERANCE = 0.05
"""How far from 1 a row of probabilities may sum: servers round, some to two decimals."""


@dataclass(frozen=True)
class Layout:
    """`shape` of one image in the tensor; `last` says that its channels come last."""

    shape: tuple[int, ...]
    last: bool = False


@dataclass(frozen=True)
class Fit:
    """A model's input and output for a task.

    `single`: the model takes one image at a time. `labels` says that the output is the
    top-1 class, else it is scores; `soft` that probabilities are wanted of them.
    """

    input: TensorMetadata
    layout: Layout
    single: bool
    output: TensorMetadata
    labels: bool
    soft: bool
    logits: bool
    num_classes: int
    mean: Tensor | None
    std: Tensor | None

    @classmethod
    def of(
        cls,
        model: ModelMetadata,
        task: Task,
        response: str,
        spec: HttpSpec,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> "Fit":
        """Check a model's metadata against a task. Raises UsageError when they do not fit."""
        tensor, layout = _input(model, task, spec.input)
        if DATATYPES[tensor.datatype].kind != "f" and (mean is not None or std is not None):
            raise UsageError(
                f"model {model.name} takes raw pixels: input {tensor.name} is {tensor.datatype}",
                "teacher.mean and teacher.std cannot be applied to them",
                "leave both out",
            )
        if tensor.shape[0] not in (-1, 1):
            raise UsageError(
                f"model {model.name} takes {tensor.shape[0]} images at once, no more and no fewer",
                f"input {_describe(tensor)}; a last request with fewer would be filled up, and cost more",
                "serve the model with a free first dimension (-1), or with 1",
            )
        output, labels = _output(model, task, response, spec.output)
        return cls(
            input=tensor,
            layout=layout,
            single=tensor.shape[0] == 1,
            output=output,
            labels=labels,
            soft=response == "soft",
            logits=spec.scores == "logits",
            num_classes=task.num_classes,
            mean=_per_channel("mean", mean, task),
            std=_per_channel("std", std, task),
        )

    def tensor(self, images: Images) -> Tensor:
        """The input tensor for uint8 (n, c, h, w).

        An integer tensor takes the raw pixels; a float one pixels / 255, then (x - mean) / std.
        """
        dtype = DATATYPES[self.input.datatype]
        pixels: Tensor = images
        if dtype.kind == "f":
            pixels = pixels / np.float32(255)
            if self.mean is not None:
                pixels = pixels - self.mean
            if self.std is not None:
                pixels = pixels / self.std
        if self.layout.last:
            pixels = pixels.transpose(0, 2, 3, 1)
        return pixels.astype(dtype).reshape(len(images), *self.layout.shape)

    def response(self, outputs: dict[str, Tensor], rows: int) -> Response:
        """The answer to `rows` images. Raises WireError when it is none."""
        name = self.output.name
        if name not in outputs:
            raise WireError(f"the answer has no output {name}, but {', '.join(outputs) or 'none at all'}")
        answer = outputs[name]
        wanted = (rows,) if self.labels else (rows, self.num_classes)
        if answer.shape[:1] != (rows,):
            raise WireError(f"output {name} answers {len(answer) if answer.ndim else 0} of {rows} images")
        if answer.shape != wanted and not (self.labels and answer.shape == (rows, 1)):
            raise WireError(f"output {name} has the shape {answer.shape}, not {wanted}")
        if self.labels:
            return Response(self._labels(answer.ravel()))
        scores = answer.astype(np.float64)
        if not np.isfinite(scores).all():
            raise WireError(f"output {name} has NaN or infinity in it")
        if not self.soft:  # the class is the same, whatever the scores are
            return Response(scores.argmax(axis=1))
        probabilities = (_softmax(scores) if self.logits else self._probabilities(scores)).astype(np.float32)
        return Response(probabilities.argmax(axis=1), probabilities)

    def _labels(self, answer: Tensor) -> Tensor:
        if answer.dtype.kind not in "iu" or answer.min() < 0 or answer.max() >= self.num_classes:
            raise WireError(f"output {self.output.name} is no class from 0 to {self.num_classes - 1}")
        return answer.astype(np.int64)

    def _probabilities(self, scores: Tensor) -> Tensor:
        off = abs(scores.sum(axis=1) - 1).max()
        if scores.min() < -1e-3 or scores.max() > 1 + 1e-3 or off > SUM_TOLERANCE:
            raise WireError(
                f"output {self.output.name} is no probabilities: values from {scores.min():.3g} to"
                f" {scores.max():.3g}, rows off a sum of 1 by up to {off:.3g};"
                " for logits set teacher.http.scores: logits"
            )
        return scores.clip(0, 1)


def _input(model: ModelMetadata, task: Task, name: str | None) -> tuple[TensorMetadata, Layout]:
    candidates = [one for one in model.inputs if name in (None, one.name)]
    if len(candidates) != 1:
        raise _which(model, "input", model.inputs, name)
    tensor = candidates[0]
    # A byte of a pixel must fit in; of two layouts that fit, the first is meant.
    if tensor.datatype in DATATYPES and tensor.datatype not in ("BOOL", "INT8"):
        for layout in _layouts(task):
            if _matches(tensor.shape[1:], layout.shape):
                return tensor, layout
    shapes = ", ".join(str([-1, *layout.shape]) for layout in _layouts(task))
    raise UsageError(
        f"model {model.name} does not take the images of {task.dataset}",
        f"input {_describe(tensor)}; wanted is an integer or FP tensor of one of: {shapes}",
        "teacher.http.model and teacher.http.input say which model and tensor are asked",
    )


def _layouts(task: Task) -> list[Layout]:
    c, h, w = task.image_shape
    plane = [Layout((h, w))] if c == 1 else []
    return [Layout((c, h, w)), Layout((h, w, c), last=True), Layout((math.prod(task.image_shape),)), *plane]


def _output(model: ModelMetadata, task: Task, response: str, name: str | None) -> tuple[TensorMetadata, bool]:
    named = [one for one in model.outputs if name in (None, one.name)]
    labels = [one for one in named if _kind(one) in ("i", "u") and _is_label(one.shape)]
    scores = [one for one in named if _kind(one) == "f" and _matches(one.shape[1:], (task.num_classes,))]
    candidates = labels if labels and response == "hard" else scores
    if len(candidates) == 1:
        return candidates[0], candidates is labels
    if candidates or not named:
        raise _which(model, "output", model.outputs, name)
    wanted = f"FP scores [-1, {task.num_classes}]" + (" or integer labels [-1]" * (response == "hard"))
    raise UsageError(
        f"model {model.name} does not tell what {task.dataset} with response: {response} needs",
        f"outputs: {'; '.join(map(_describe, named))}; wanted: {wanted}",
        "check teacher.http.model and teacher.http.output"
        + (", or set response: hard" if labels else ", and the number of classes"),
    )


def _kind(tensor: TensorMetadata) -> str:
    return DATATYPES[tensor.datatype].kind if tensor.datatype in DATATYPES else ""


def _is_label(shape: Sequence[int]) -> bool:
    return len(shape) == 1 or _matches(shape[1:], (1,))


def _matches(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(
        one in (-1, other) for one, other in zip(shape, wanted, strict=True)
    )


def _describe(tensor: TensorMetadata) -> str:
    return f"{tensor.name} {tensor.datatype} {tensor.shape}"


def _which(
    model: ModelMetadata, what: str, tensors: Sequence[TensorMetadata], name: str | None
) -> UsageError:
    why = f"it has the {what}s: {'; '.join(map(_describe, tensors))}" if tensors else f"it tells no {what}s"
    if name is None:
        return UsageError(
            f"which {what} of model {model.name} is meant?", why, f"set teacher.http.{what} to its name"
        )
    return UsageError(f"model {model.name} has no {what} {name}", why, f"see teacher.http.{what}")


def _per_channel(key: str, values: Sequence[float] | None, task: Task) -> Tensor | None:
    if values is None:
        return None
    channels = task.image_shape[0]
    if len(values) != channels or (key == "std" and min(values) <= 0):
        raise UsageError(
            f"teacher.{key} needs one number a channel ({channels})" + ", above 0" * (key == "std"),
            f"it is {list(values)}",
        )
    return np.asarray(values, np.float32).reshape(1, channels, 1, 1)


def _softmax(logits: Tensor) -> Tensor:
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exps / exps.sum(axis=1, keepdims=True))
