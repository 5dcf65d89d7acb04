"""The Open Inference Protocol, version 2: tensors in, tensors out.

Source: https://github.com/kserve/open-inference-protocol, with Triton's extension for binary
tensors. A tensor [rows] is a column of a table, as `predict` reads it; a tensor of numbers
[sequences, steps, columns] holds sequences of equal length. The answer has a tensor for each column
of the table of predictions.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from gatewise.errors import DataError
from gatewise.readers.json import parsed
from gatewise.serving.limits import Refusal
from gatewise.serving.models import REQUEST, Answer, Model
from gatewise.settings import shown

TYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
TEXT = "BYTES"
MAX_RANK = 3
MAX_SIZE = 2**31 - 1  # of an axis, so that NumPy can hold the product
MAX_DIGITS = 18  # of a length, because Python refuses to convert thousands
LENGTH = "inference-header-content-length"  # bytes of JSON before the binary tensors
EXTENSIONS = ["binary_tensor_data", "sequence"]
SEQUENCE = "sequence_id"
RECORDING = "recording"  # the name of the tensor in the metadata; another one is read as well


def described(model: Model) -> dict[str, Any]:
    """The metadata of a model: the columns that it was trained on, and those of its answers.

    Shapes are [-1], because a request may have any number of rows.
    """
    data = model.artefact.experiment.data
    texts = (*data.id, *data.time, *data.text, *([data.sound] if data.sound else []))
    numbers = (*data.target, *data.past, *data.known, *data.static, *data.features)
    if model.kind in ("text", "tokens"):
        texts, numbers = (*data.id, *(data.text or ("text",))), ()
    categories = model.artefact.preparation.categories
    if model.kind == "sound":
        texts, numbers = (RECORDING,), ()
    inputs = [_tensor(name, TEXT) for name in texts]
    inputs += [_tensor(name, TEXT if name in categories else "FP64") for name in numbers]
    return {
        "name": model.name,
        "versions": ["1"],
        "platform": "gatewise",
        "inputs": inputs,
        "outputs": [_tensor(name, _datatype(kind)) for name, kind in model.schema.items()],
        "parameters": {"task": model.task},
    }


def _datatype(kind: Any) -> str:
    """The datatype of a column of Polars."""
    if kind.is_integer():
        return "INT64"
    if kind.is_float():
        return "FP64"
    return "BOOL" if kind == pl.Boolean else TEXT


def _tensor(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


def split_body(body: bytes, length: str | None) -> tuple[dict[str, Any], bytes]:
    """The JSON of a request, and the binary tensors after it.

    Raises:
        Refusal: the body is not what the protocol describes.
    """
    size = len(body)
    if length is not None:
        digits = length.isascii() and length.isdigit() and len(length) <= MAX_DIGITS
        if not digits or int(length) > len(body):
            raise Refusal(
                400,
                f"{LENGTH} must be the number of bytes of JSON, at most {len(body)}. "
                f"Received: {shown(length)}.",
            )
        size = int(length)
    try:
        request = parsed(body[:size], REQUEST)
    except DataError as error:
        raise Refusal(400, str(error)) from None
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise Refusal(400, 'A request is a JSON object with "inputs", a list of tensors.')
    return request, body[size:]


def source_of(request: Mapping[str, Any], binary: bytes, *, text: bool) -> Any:
    """The data of a request, as `predict` takes them: a table, an array or a list of texts.

    `text` tells whether the model reads texts, so that a single tensor of texts is a list of them.

    Raises:
        Refusal: a tensor is not what its name, shape and type say.
    """
    tensors: dict[str, Any] = {}
    at = 0
    for given in request["inputs"]:
        name, shape, datatype, size = _header(given)
        if name in tensors:
            raise Refusal(400, f"There are two tensors '{name}'. Give each its own name.")
        if size is None:
            tensors[name] = _from_json(name, given.get("data"), shape, datatype)
        else:
            tensors[name] = _from_bytes(name, binary[at : at + size], shape, datatype)
            at += size
    if at != len(binary):
        raise Refusal(400, f"The tensors use {at} of the {len(binary)} bytes after the JSON.")
    if not tensors:
        raise Refusal(400, "There is no tensor. Give one for each column of the data.")
    first = next(iter(tensors.values()))
    if len(tensors) == 1 and (np.ndim(first) > 1 or (text and isinstance(first, list))):
        return first
    return _table(tensors)


def steps_of(source: Any, *, sound: bool = False) -> Any:
    """The rows of a request that belongs to a sequence: of an array [1, steps, columns], its steps.

    A single tensor [samples] is `sound`.

    Raises:
        Refusal: the array holds several sequences.
    """
    if isinstance(source, np.ndarray) and source.ndim == 3:
        if len(source) != 1:
            raise Refusal(400, f"A request of a sequence holds one. Received: {len(source)}.")
        return source[0]
    if sound and isinstance(source, pl.DataFrame) and source.width == 1:
        return source.to_series().to_numpy()
    return source


def names_sequence(request: Mapping[str, Any]) -> bool:
    """Whether a request belongs to a sequence."""
    parameters = request.get("parameters")
    return isinstance(parameters, dict) and SEQUENCE in parameters


def sequence_of(request: Mapping[str, Any]) -> tuple[int | str, bool, bool]:
    """The id of the sequence that a request belongs to, and whether it starts and ends there.

    Raises:
        Refusal: a parameter of the sequence has the wrong type.
    """
    parameters = request["parameters"]
    name = parameters[SEQUENCE]
    if isinstance(name, bool) or not isinstance(name, int | str) or not 0 < len(str(name)) <= 128:
        raise Refusal(400, f"{SEQUENCE} must be a number or a short text. Received: {shown(name)}.")
    flags = [parameters.get(f"sequence_{which}", False) for which in ("start", "end")]
    if not all(isinstance(one, bool) for one in flags):
        raise Refusal(400, "sequence_start and sequence_end must be true or false.")
    return name, flags[0], flags[1]


def _table(tensors: Mapping[str, Any]) -> pl.DataFrame:
    for name, tensor in tensors.items():
        if np.ndim(tensor) != 1:
            raise Refusal(
                400,
                f"Tensor '{name}' has the shape {list(np.shape(tensor))}, but a column has the "
                "shape [rows]. Only a single tensor may be [sequences, steps, columns].",
            )
    counts = {len(tensor) for tensor in tensors.values()}
    if len(counts) > 1:
        raise Refusal(400, f"The columns have {sorted(counts)} rows, but need equally many.")
    return pl.DataFrame(dict(tensors))


def _header(given: Any) -> tuple[str, list[int], str, int | None]:
    """Name, shape, type and binary size of a tensor; the size is None if its data are JSON."""
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise Refusal(400, 'A tensor is an object with "name", "shape", "datatype" and "data".')
    name, shape, datatype = given["name"], given.get("shape"), given.get("datatype")
    known = ", ".join((*TYPES, TEXT))
    if not isinstance(datatype, str) or (datatype not in TYPES and datatype != TEXT):
        raise Refusal(
            400, f"Tensor '{name}': datatype must be one of {known}. Received: {shown(datatype)}."
        )
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= MAX_RANK
        or not all(type(one) is int and 1 <= one <= MAX_SIZE for one in shape)
    ):
        raise Refusal(
            400,
            f"Tensor '{name}': shape must be a list of 1 to {MAX_RANK} sizes from 1 to "
            f"{MAX_SIZE:,}. Received: {shown(shape)}.",
        )
    parameters = given.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise Refusal(
            400, f"Tensor '{name}': binary_data_size must be a size. Received: {shown(size)}."
        )
    return name, shape, datatype, size


def _from_json(name: str, data: Any, shape: list[int], datatype: str) -> Any:
    """A tensor in row-major order; its data may be nested or flat."""
    if not isinstance(data, list):
        raise Refusal(400, f"Tensor '{name}' has no data. Give a list.")
    if datatype == TEXT:
        if len(shape) != 1 or not all(isinstance(one, str) for one in data):
            raise Refusal(400, f"Tensor '{name}' must be a list of texts, of the shape [rows].")
        _refuse_other_size(name, len(data), shape)
        return data
    kind = np.dtype(TYPES[datatype])
    try:
        array = np.asarray(data, dtype=np.float64 if kind.kind == "f" else None)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf":
        raise Refusal(400, f"Tensor '{name}' must hold numbers ({datatype}), as many in each row.")
    with np.errstate(invalid="ignore"):
        outside = kind.kind != "f" and bool((array.astype(kind) != array).any())
    if outside:
        raise Refusal(400, f"Tensor '{name}' holds a value that no {datatype} can be.")
    _refuse_other_size(name, array.size, shape)
    return array.reshape(shape)


def _from_bytes(name: str, data: bytes, shape: list[int], datatype: str) -> Any:
    count = math.prod(shape)
    if datatype == TEXT:
        if len(shape) != 1:
            raise Refusal(400, f"Tensor '{name}' must be a list of texts, of the shape [rows].")
        elements = _elements(name, data)
        _refuse_other_size(name, len(elements), shape)
        return [one.decode("utf-8", "replace") for one in elements]
    kind = np.dtype(TYPES[datatype])
    if len(data) != count * kind.itemsize:
        raise Refusal(
            400,
            f"Tensor '{name}' of the shape {shape} has {count * kind.itemsize} bytes. "
            f"Received: {len(data)}.",
        )
    array = np.frombuffer(data, kind).reshape(shape)
    return array.astype(np.float64) if kind.kind == "f" else array


def _elements(name: str, data: bytes) -> list[bytes]:
    """The elements of a binary tensor of BYTES, each after its length in four bytes."""
    elements, at = [], 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        elements.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(data):
        raise Refusal(400, f"Tensor '{name}': the elements do not end where their lengths say.")
    return elements


def recordings_of(request: Mapping[str, Any], binary: bytes) -> list[bytes]:
    """The files of a request to a model of recordings: a binary tensor of BYTES, a file each.

    Raises:
        Refusal: the request holds something else.
    """
    given = request["inputs"]
    name, shape, datatype, size = _header(given[0]) if len(given) == 1 else ("", [], "", None)
    if datatype != TEXT or len(shape) != 1 or size is None:
        raise Refusal(
            400,
            "This model reads recordings. Give one tensor of BYTES with binary data, of the shape "
            "[recordings], each element the content of a file such as WAV or FLAC.",
        )
    if size != len(binary):
        raise Refusal(400, f"Tensor '{name}' uses {size} of the {len(binary)} bytes.")
    files = _elements(name, binary)
    _refuse_other_size(name, len(files), shape)
    if not files:
        raise Refusal(400, f"Tensor '{name}' holds no recording. Give at least one.")
    return files


def _refuse_other_size(name: str, size: int, shape: list[int]) -> None:
    if size != math.prod(shape):
        raise Refusal(400, f"Tensor '{name}' of the shape {shape} has {size} values.")


def reply(model: Model, request: Mapping[str, Any], answer: Answer) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and its headers; tensors are binary where the client asked for that.

    Raises:
        Refusal: the request names an output that the answer does not have.
    """
    table = answer.table
    wanted = request.get("outputs") or [{"name": name} for name in table.columns]
    if not isinstance(wanted, list):
        raise Refusal(400, '"outputs" must be a list of objects with "name".')
    general = request.get("parameters")
    everywhere = isinstance(general, dict) and bool(general.get("binary_data_output"))
    outputs, binary = [], []
    for one in wanted:
        name = one.get("name") if isinstance(one, dict) else None
        if name not in table.columns:
            raise Refusal(400, f"There is no output {shown(name)}. There are {table.columns}.")
        parameters = one.get("parameters")
        own = parameters.get("binary_data") if isinstance(parameters, dict) else None
        datatype, values = _values(table[name])
        output = {"name": name, "datatype": datatype, "shape": [table.height]}
        if everywhere if own is None else own:
            content = _packed(values, datatype)
            output["parameters"] = {"binary_data_size": len(content)}
            binary.append(content)
        else:
            output["data"] = values
        outputs.append(output)
    head: dict[str, Any] = {"model_name": model.name, "model_version": "1", "outputs": outputs}
    if isinstance(request.get("id"), str):
        head["id"] = request["id"]
    if answer.notes:
        head["parameters"] = {"notes": " ".join(answer.notes)}
    content = json.dumps(head, ensure_ascii=False, allow_nan=False).encode()
    if not binary:
        return content, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", LENGTH: str(len(content))}
    return b"".join([content, *binary]), headers


def _values(column: pl.Series) -> tuple[str, list[Any]]:
    """The type and the values of a column; numbers that are not finite are None."""
    datatype = _datatype(column.dtype)
    if column.dtype.is_float():
        finite = [one if one is not None and math.isfinite(one) else None for one in column]
        return datatype, finite
    if column.dtype.is_temporal():
        return datatype, column.dt.to_string("iso:strict").to_list()
    if datatype == TEXT:
        return datatype, ["" if one is None else str(one) for one in column]
    return datatype, column.to_list()


def _packed(values: list[Any], datatype: str) -> bytes:
    if datatype != TEXT:
        filled = [math.nan if one is None else one for one in values]
        return np.array(filled).astype(TYPES[datatype]).tobytes()
    encoded = [text.encode() for text in values]
    return b"".join(len(one).to_bytes(4, "little") + one for one in encoded)
