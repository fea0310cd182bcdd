import json

import numpy as np
import pytest

from raysys.teacher.infer_v2 import (
    DATATYPES,
    LENGTH_HEADER,
    NotJsonError,
    Tensor,
    WireError,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

SCORES = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)


def answer(**tensor: object) -> bytes:
    one = {"name": "y", "datatype": "INT64", "shape": [2], "data": [3, 4]} | tensor
    return json.dumps({"model_name": "m", "outputs": [one]}).encode()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("datatype", DATATYPES)
def test_a_request_is_read_as_it_was_written(datatype: str, binary: bool) -> None:
    images = np.arange(12).reshape(2, 1, 2, 3).astype(DATATYPES[datatype])
    body, headers = encode_request("run/7", {"image": images}, ["y"], binary)
    request = decode_request(body, headers.get(LENGTH_HEADER))
    assert (request.id, request.outputs, "y" in request.binary) == ("run/7", ["y"], binary)
    assert request.inputs["image"].dtype == images.dtype
    np.testing.assert_array_equal(request.inputs["image"], images)


def test_an_answer_may_mix_json_and_bytes() -> None:
    outputs: dict[str, Tensor] = {"label": np.array([1, 0]), "scores": SCORES, "more": SCORES[:1]}
    body, headers = encode_response("run/7", "digits", outputs, {"scores", "more"})
    read = decode_response(body, headers[LENGTH_HEADER])
    assert read.keys() == outputs.keys()
    for name, tensor in outputs.items():
        np.testing.assert_array_equal(read[name], tensor)


def test_the_json_is_the_one_of_the_protocol() -> None:
    body, headers = encode_request("run/7", {"image": np.array([[1, 2]], np.uint8)}, ["y"], binary=False)
    assert headers == {"Content-Type": "application/json"}
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 2], "data": [1, 2]}
    assert json.loads(body) == {"id": "run/7", "outputs": [{"name": "y"}], "inputs": [tensor]}

    body, headers = encode_request("run/7", {"image": np.array([[1, 2]], np.uint16)}, ["y"], binary=True)
    length = int(headers[LENGTH_HEADER])
    assert body[length:] == b"\x01\x00\x02\x00"
    assert json.loads(body[:length])["inputs"][0]["parameters"] == {"binary_data_size": 4}
    assert json.loads(body[:length])["outputs"] == [{"name": "y", "parameters": {"binary_data": True}}]


def test_all_outputs_can_be_wanted_as_bytes_at_once() -> None:
    outputs = [{"name": "y"}, {"name": "z", "parameters": {"binary_data": False}}]
    parameters = {"binary_data_output": True}
    request = decode_request(
        json.dumps({"inputs": [], "outputs": outputs, "parameters": parameters}).encode(), None
    )
    assert (request.id, set(request.binary), request.binary_rest) == ("", {"y"}, True)


def test_nested_and_flat_numbers_are_the_same() -> None:
    for data in ([0.25, 0.75, 1, 0], [[0.25, 0.75], [1, 0]]):
        read = decode_response(answer(datatype="FP32", shape=[2, 2], data=data), None)
        np.testing.assert_array_equal(read["y"], SCORES)


def test_nan_and_what_is_too_large_are_read_as_such() -> None:
    read = decode_response(answer(datatype="FP16", data=[float("nan"), 1e9]), None)["y"]
    assert np.isnan(read[0]) and np.isinf(read[1])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (answer(data=[1.5, 2]), "tensor y: its data are no INT64"),
        (answer(datatype="UINT8", data=[-1, 256]), "tensor y: its data are no UINT8"),
        (answer(data=[1, 2, 3]), "tensor y: its data are no 2 numbers"),
        (answer(data=["1", "2"]), "tensor y: its data are no 2 numbers"),
        (answer(data=[None, 2]), "tensor y: its data are no 2 numbers"),
        (answer(data=[[1], [2, 3]]), "tensor y: its data are ragged"),
        (answer(datatype="BYTES"), "tensor y: datatype BYTES is not known here"),
        (answer(shape=[-2]), "outputs.0.shape.0: .* greater than or equal to 0"),
        (answer(parameters={"binary_data_size": 16}), r"tensor y: 16 bytes .* \(0 bytes are left"),
        (b'{"error": "no"}', "outputs: Field required"),
        (b"[]", "the body: Input should be an object"),
    ],
)
def test_an_answer_against_the_protocol_says_what_is_wrong(body: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        decode_response(body, None)


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", answer()[:40]])
def test_a_body_that_is_no_json_is_told_apart(body: bytes) -> None:
    with pytest.raises(NotJsonError, match="the body is no JSON"):
        decode_response(body, None)
    with pytest.raises(NotJsonError, match=f"{LENGTH_HEADER} is 9999, the body has {len(body)} bytes"):
        decode_response(body, "9999")


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", ""])
def test_a_length_that_is_none_is_told_apart(length: str) -> None:
    with pytest.raises(NotJsonError, match=f"{LENGTH_HEADER} is {length[:20]}, the body has"):
        decode_request(b"{}", length)
