"""The messages of the Open Inference Protocol v2 over HTTP, as bytes and arrays, for client and server.

Tensors travel as JSON numbers, or with the binary tensor data extension as little-endian bytes behind the
JSON. Source: kserve.github.io, "Open Inference Protocol (V2)" and "Binary Tensor Data Extension". Of the
datatypes, BYTES and BF16 are left out: no image and no score of ours is one.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, NonNegativeInt, ValidationError
from pydantic_core import to_json

Tensor = npt.NDArray[Any]
Header = TypeVar("Header", bound=BaseModel)

BINARY_EXTENSION = "binary_tensor_data"
"""What a server lists under `extensions` when it takes and gives tensors as bytes."""

LENGTH_HEADER = "Inference-Header-Content-Length"
"""The HTTP header with the length of the JSON, in bytes, when tensors follow it."""

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"UINT{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"INT{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
"""The protocol's datatypes as numpy's."""

_NAMES = {dtype: name for name, dtype in DATATYPES.items()}


class WireError(ValueError):
    """A message that is against the protocol; the text says how."""


class NotJsonError(WireError):
    """A body that is no JSON at all: a gateway's page, or cut off on its way."""


class TensorMetadata(BaseModel):
    """A tensor that a model takes or gives. A dimension of -1 is free."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The answer to `GET /v2/models/NAME`."""

    name: str
    versions: list[str] | None = None
    platform: str = ""
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """The answer to `GET /v2`."""

    name: str = ""
    version: str = ""
    extensions: list[str] = []


class Message(NamedTuple):
    """An HTTP body and the headers that it needs."""

    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class InferRequest:
    """A decoded request. `outputs` are the asked outputs, none for all; `binary` those wanted as bytes.

    `binary_rest` says whether outputs that are not named are wanted as bytes.
    """

    id: str
    inputs: dict[str, Tensor]
    outputs: list[str]
    binary: frozenset[str]
    binary_rest: bool


def encode_request(
    request_id: str, inputs: Mapping[str, Tensor], outputs: Sequence[str], binary: bool
) -> Message:
    """The body of `POST /v2/models/NAME/infer` that asks for `outputs`; bytes both ways if `binary`."""
    wanted = [{"name": name} | ({"parameters": {"binary_data": True}} if binary else {}) for name in outputs]
    return _encode({"id": request_id, "outputs": wanted}, "inputs", inputs, inputs if binary else ())


def decode_request(body: bytes, json_length: str | None) -> InferRequest:
    """Read a request; `json_length` is the value of LENGTH_HEADER, if any. Raises WireError."""
    header, tail = _split(_RequestHeader, body, json_length)
    rest = header.parameters.get("binary_data_output", False) is True
    binary = {one.name for one in header.outputs if one.parameters.get("binary_data", rest) is True}
    inputs = _tensors(header.inputs, tail)
    return InferRequest(header.id, inputs, [one.name for one in header.outputs], frozenset(binary), rest)


def encode_response(
    request_id: str, model: str, outputs: Mapping[str, Tensor], binary: Collection[str]
) -> Message:
    """The answer to a request; the outputs named in `binary` travel as bytes."""
    return _encode({"id": request_id, "model_name": model}, "outputs", outputs, binary)


def decode_response(body: bytes, json_length: str | None) -> dict[str, Tensor]:
    """The outputs of an answer by name; see `decode_request`."""
    header, tail = _split(_ResponseHeader, body, json_length)
    return _tensors(header.outputs, tail)


class _WireTensor(BaseModel):
    name: str
    datatype: str
    shape: list[NonNegativeInt]
    data: Any = None
    parameters: dict[str, Any] = {}


class _AskedOutput(BaseModel):
    name: str
    parameters: dict[str, Any] = {}


class _RequestHeader(BaseModel):
    id: str = ""
    inputs: list[_WireTensor]
    outputs: list[_AskedOutput] = []
    parameters: dict[str, Any] = {}


class _ResponseHeader(BaseModel):
    outputs: list[_WireTensor]


def _encode(
    fields: dict[str, Any], key: str, tensors: Mapping[str, Tensor], binary: Collection[str]
) -> Message:
    described, tail = [], []
    for name, tensor in tensors.items():
        one: dict[str, Any] = {"name": name, "datatype": _NAMES[tensor.dtype], "shape": list(tensor.shape)}
        if name in binary:
            tail.append(tensor.tobytes())
            one["parameters"] = {"binary_data_size": tensor.nbytes}
        else:
            one["data"] = tensor.ravel().tolist()
        described.append(one)
    head = to_json(fields | {key: described})
    if not binary:
        return Message(head, {"Content-Type": "application/json"})
    headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(head))}
    return Message(b"".join([head, *tail]), headers)


def _split(header: type[Header], body: bytes, json_length: str | None) -> tuple[Header, bytes]:
    length = len(body)
    if json_length is not None:
        # Python reads no integer of thousands of digits.
        if not json_length.isdecimal() or len(json_length) > 20 or int(json_length) > length:
            raise NotJsonError(f"{LENGTH_HEADER} is {json_length[:20]}, the body has {length} bytes")
        length = int(json_length)
    try:
        return header.model_validate_json(body[:length]), body[length:]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            raise NotJsonError("the body is no JSON") from None
        raise WireError(f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}") from None


def _tensors(described: Sequence[_WireTensor], tail: bytes) -> dict[str, Tensor]:
    tensors = {}
    for one in described:
        if one.datatype not in DATATYPES:
            raise WireError(f"tensor {one.name}: datatype {one.datatype} is not known here")
        size = one.parameters.get("binary_data_size")
        if size is None:
            tensors[one.name] = _from_json(one)
            continue
        dtype = DATATYPES[one.datatype]
        if type(size) is not int or size != math.prod(one.shape) * dtype.itemsize or size > len(tail):
            raise WireError(
                f"tensor {one.name}: {size} bytes are no {one.datatype} {one.shape}"
                f" ({len(tail)} bytes are left in the body)"
            )
        tensors[one.name] = _shaped(one, np.frombuffer(tail[:size], dtype))
        tail = tail[size:]
    return tensors


def _from_json(one: _WireTensor) -> Tensor:
    dtype = DATATYPES[one.datatype]
    try:
        numbers = np.asarray(one.data)
    except ValueError:
        raise WireError(f"tensor {one.name}: its data are ragged") from None
    if numbers.dtype.kind not in "biuf" or numbers.size != math.prod(one.shape):
        raise WireError(f"tensor {one.name}: its data are no {math.prod(one.shape)} numbers")
    with np.errstate(all="ignore"):
        tensor = numbers.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(tensor, numbers):
        raise WireError(f"tensor {one.name}: its data are no {one.datatype}")
    return _shaped(one, tensor)


def _shaped(one: _WireTensor, flat: Tensor) -> Tensor:
    try:
        return flat.reshape(one.shape)
    except ValueError as error:  # an empty tensor of an absurd shape
        raise WireError(f"tensor {one.name}: {error}") from None
