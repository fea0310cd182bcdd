"""Weights on disk, without pickle: safetensors, and the hash that names a state."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from pyarrow.fs import FileSystem, LocalFileSystem
from torch import Tensor, nn

from raysys.errors import UsageError
from raysys.files import read_bytes, write_atomic


def state_sha256(module: nn.Module) -> str:
    """Hash of all parameters and buffers: names, types, shapes and bytes, in the order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_safetensors(
    module: nn.Module,
    path: Path,
    metadata: Mapping[str, str] | None = None,
    filesystem: FileSystem | None = None,
) -> None:
    """Write the module's state to `path`, all or nothing. Raises StorageError when that fails."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    content = safetensors.torch.save(state, dict(metadata or {}))
    write_atomic(filesystem or LocalFileSystem(), path, lambda stream: stream.write(content))


def load_safetensors(module: nn.Module, path: Path, filesystem: FileSystem | None = None) -> None:
    """Fill `module` from a safetensors file.

    Raises UsageError when it is missing, damaged or does not fit, StorageError when it cannot be read.
    """
    load_state(module, read_safetensors(path, filesystem), path)


def read_safetensors(path: Path, filesystem: FileSystem | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises UsageError when it is missing or damaged, StorageError when it cannot be read.
    """
    content = read_bytes(filesystem or LocalFileSystem(), path)
    if content is None:
        raise UsageError(f"cannot read weights {path}", "there is no such file")
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise UsageError(f"cannot read weights {path}", str(error), "is it a safetensors file?") from None


def load_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint made by `torch.save(model.state_dict(), path)`, on the CPU.

    A state dict under the key `state_dict` or `model`, and the prefix `module.` of data-parallel
    training, are understood. Only tensors and plain containers are read, no code runs; anything else
    raises UsageError.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 (here it is)
    except OSError as error:
        raise UsageError(f"cannot read weights {path}", str(error)) from None
    except Exception as error:  # torch raises many kinds for a file that is not a checkpoint
        raise UsageError(
            f"refused to load {path}",
            f"it is no checkpoint of tensors only: {str(error).partition(chr(10))[0]}",
            "save it as safetensors, or with torch.save(model.state_dict(), path)",
        ) from None
    if isinstance(loaded, Mapping):
        loaded = loaded.get("state_dict", loaded.get("model", loaded))
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UsageError(
            f"{path} holds no state dict", hint="save it with torch.save(model.state_dict(), path)"
        )
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def load_state(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Fill `module` from `state`. Raises UsageError with the first tensor that does not fit."""
    expected = module.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is not part of the architecture" for name in state if name not in expected]
    problems += [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        raise UsageError(
            f"{source} does not fit the architecture",
            f"{len(problems)} tensors differ; the first: {problems[0]}",
            "name the architecture that the file was saved from",
        )
    module.load_state_dict(state)
