"""Answers of a SavedModel through TensorFlow's C API, the C++ loader that TF Serving uses.

Only the standard library and numpy are imported, neither TensorFlow's Python nor Keras nor this project: what
answers here answers on a server, and start-up does not wait for Python packages. The file also works alone,
loaded by its path.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import math
import os
import re
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

# tensorflow/core/framework/types.proto
_DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    9: "int64",
    10: "bool",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
_STRING = 7
_STRING_BYTES = 24  # sizeof(TF_TString)

_CHATTER = re.compile(rb"WARNING: All log messages before absl|[IW]\d{4} ")


class SavedModelError(RuntimeError):
    """The SavedModel could not be loaded or run; the message is TensorFlow's own where it gave one."""


class TensorInfo(NamedTuple):
    """A signature's input or output: the tensor's name in the graph ("operation:0") and its type."""

    tensor: str
    dtype: str


class Signature(NamedTuple):
    """What a signature takes and gives, by name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


class _Output(ctypes.Structure):
    _fields_ = (("operation", c_void_p), ("index", c_int))


class _Buffer(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


# Result and arguments of each function; see tensorflow/c/*.h.
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "TF_NewStatus": (c_void_p, []),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_LoadLibrary": (c_void_p, [c_char_p, c_void_p]),
    "TF_NewGraph": (c_void_p, []),
    "TF_DeleteGraph": (None, [c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_NewBuffer": (POINTER(_Buffer), []),
    "TF_DeleteBuffer": (None, [POINTER(_Buffer)]),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(_Buffer), c_void_p],
    ),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_SessionRun": (
        None,
        [c_void_p, c_void_p]
        + [POINTER(_Output), POINTER(c_void_p), c_int] * 2
        + [c_void_p, c_int, c_void_p, c_void_p],
    ),
    "TF_AllocateTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_StringInit": (None, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringGetDataPointer": (c_void_p, [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
}


def _package(name: str) -> Path | None:
    """The directory of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keeps back the notes that TensorFlow writes while it is loaded, before it looks at the log level."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            os.write(2, b"".join(line for line in held if not _CHATTER.match(line)))


@functools.cache
def _tensorflow() -> ctypes.CDLL:
    """Loads the C API, and the operations of TensorFlow Text where that is installed."""
    package = _package("tensorflow")
    if package is None:
        raise SavedModelError("TensorFlow is not installed in this Python; pip install tensorflow")
    candidates = [package / name for name in ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")]
    library = next((path for path in candidates if path.exists()), None)
    if library is None:
        raise SavedModelError(f"no TensorFlow C library in {package}: expected {candidates[0].name}")
    # What goes wrong comes back as a status; the log would only add warnings about absent accelerators.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _without_chatter():
        api = ctypes.CDLL(str(library))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(api, name)
        function.restype, function.argtypes = result, arguments
    text = _package("tensorflow_text")
    for operations in sorted((text / "python" / "ops").glob("*.so")) if text else []:
        _checked(api, api.TF_LoadLibrary, os.fsencode(operations))
    return api


def _checked(api: ctypes.CDLL, function: Any, *arguments: Any) -> Any:
    """Calls a function whose last argument is a TF_Status, and raises what that says."""
    status = api.TF_NewStatus()
    try:
        result = function(*arguments, status)
        if api.TF_GetCode(status):
            raise SavedModelError(api.TF_Message(status).decode(errors="replace"))
        return result
    finally:
        api.TF_DeleteStatus(status)


class SavedModelSession:
    """A loaded SavedModel.

    Usable as a context manager; without one the memory is given back with the object. Calls from several
    threads are safe.

    Args:
        directory: The directory that holds `saved_model.pb`.

    Raises:
        SavedModelError: If TensorFlow is not installed or cannot load the model.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._api = api = _tensorflow()
        options, metagraph = api.TF_NewSessionOptions(), api.TF_NewBuffer()
        self._graph = api.TF_NewGraph()
        try:
            self._session = _checked(
                api,
                api.TF_LoadSessionFromSavedModel,
                *(options, None, os.fsencode(directory), (c_char_p * 1)(b"serve"), 1, self._graph, metagraph),
            )
            buffer = metagraph.contents
            self._signatures = _signatures(ctypes.string_at(buffer.data, buffer.length))
        except SavedModelError:
            api.TF_DeleteGraph(self._graph)
            raise
        finally:
            api.TF_DeleteBuffer(metagraph)
            api.TF_DeleteSessionOptions(options)
        self._finalizer = weakref.finalize(self, _close, api, self._session, self._graph)

    def close(self) -> None:
        """Gives the model's memory back; nothing can be run afterwards."""
        self._finalizer()

    def __enter__(self) -> SavedModelSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def signatures(self) -> list[str]:
        """The names of the signatures."""
        return sorted(self._signatures)

    def signature(self, name: str = "serving_default") -> Signature:
        """Names and types of what the signature `name` takes and gives."""
        if name not in self._signatures:
            raise SavedModelError(f"no signature {name!r}; the model has {self.signatures}")
        return self._signatures[name]

    def run(self, texts: Sequence[str | bytes], signature: str = "serving_default") -> dict[str, np.ndarray]:
        """Answers a batch of texts.

        Args:
            texts: The batch, `[B]`; `str` is sent as UTF-8.
            signature: Which signature answers. It must take one string tensor.

        Returns:
            Each output by its name, of any shape; strings are an array of `bytes` objects.

        Raises:
            SavedModelError: With TensorFlow's message, if the model cannot answer.
        """
        if not self._finalizer.alive:
            raise SavedModelError("the session is closed")
        api, spec = self._api, self.signature(signature)
        if [info.dtype for info in spec.inputs.values()] != ["string"]:
            taken = {name: info.dtype for name, info in spec.inputs.items()}
            raise SavedModelError(f"signature {signature!r} takes {taken}; expected one string input")
        encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
        sources = self._endpoints(spec.inputs)
        targets = self._endpoints(spec.outputs)
        results = (c_void_p * len(spec.outputs))()
        tensor = _string_tensor(api, encoded)
        try:
            fed = (c_void_p * 1)(tensor)
            _checked(
                api,
                api.TF_SessionRun,
                *(self._session, None, sources, fed, 1, targets, results, len(results), None, 0, None),
            )
            return {name: _array(api, result) for name, result in zip(spec.outputs, results, strict=True)}
        finally:
            for used in (tensor, *results):
                if used:  # there are no results after an error
                    api.TF_DeleteTensor(used)  # and the strings in it

    def _endpoints(self, tensors: dict[str, TensorInfo]) -> ctypes.Array[_Output]:
        endpoints = (_Output * len(tensors))()
        for endpoint, info in zip(endpoints, tensors.values(), strict=True):
            operation, _, index = info.tensor.rpartition(":")
            endpoint.operation = self._api.TF_GraphOperationByName(self._graph, operation.encode())
            endpoint.index = int(index)
            if not endpoint.operation:
                raise SavedModelError(f"the signature names {info.tensor!r}, which the graph does not have")
        return endpoints


def _close(api: ctypes.CDLL, session: int, graph: int) -> None:
    _checked(api, api.TF_CloseSession, session)
    _checked(api, api.TF_DeleteSession, session)
    api.TF_DeleteGraph(graph)


def _string_tensor(api: ctypes.CDLL, texts: list[bytes]) -> int:
    size = _STRING_BYTES * len(texts)
    tensor: int = api.TF_AllocateTensor(_STRING, byref(c_int64(len(texts))), 1, size)
    data = api.TF_TensorData(tensor)
    for index, text in enumerate(texts):
        string = data + _STRING_BYTES * index
        api.TF_StringInit(string)
        api.TF_StringCopy(string, text, len(text))
    return tensor


def _array(api: ctypes.CDLL, tensor: int) -> np.ndarray:
    """Copies a tensor out of TensorFlow's memory."""
    shape = [api.TF_Dim(tensor, axis) for axis in range(api.TF_NumDims(tensor))]
    code = api.TF_TensorType(tensor)
    data, count = api.TF_TensorData(tensor), math.prod(shape)
    if code == _STRING:
        array = np.empty(count, dtype=object)
        for index in range(count):
            string = data + _STRING_BYTES * index
            array[index] = ctypes.string_at(api.TF_StringGetDataPointer(string), api.TF_StringGetSize(string))
        return array.reshape(shape)
    if code not in _DTYPES:
        raise SavedModelError(f"an output has TensorFlow's type number {code}; expected one of {_DTYPES}")
    raw = ctypes.string_at(data, api.TF_TensorByteSize(tensor)) if count else b""
    return np.frombuffer(raw, dtype=_DTYPES[code]).reshape(shape).copy()


def example(text: str | bytes) -> bytes:
    """A serialized `tf.train.Example` with the text as its feature `text`: what `classify` takes."""
    value = text if isinstance(text, bytes) else text.encode()
    entry = _field(1, b"text") + _field(2, _field(1, _field(1, value)))  # Feature.bytes_list.value
    return _field(1, _field(1, entry))  # Example.features, an entry of Features.feature


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = len(value), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + value


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a serialized protocol buffer, nested messages as bytes."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while position < len(message):
        number, wire_type = divmod(varint(), 8)
        if wire_type == 0:
            yield number, varint()
            continue
        length = {1: 8, 5: 4}[wire_type] if wire_type != 2 else varint()
        yield number, message[position : position + length]
        position += length


def _entries(message: bytes, number: int) -> dict[str, bytes]:
    """The map field `number` of a message: entries with key 1 and value 2."""
    entries = (dict(fields(value)) for field, value in fields(message) if field == number)
    return {entry[1].decode(): entry.get(2, b"") for entry in entries}


def _signatures(metagraph: bytes) -> dict[str, Signature]:
    """The signatures of a serialized MetaGraphDef (its field 5; each has inputs in 1 and outputs in 2)."""

    def tensors(signature: bytes, number: int) -> dict[str, TensorInfo]:
        found = {name: dict(fields(info)) for name, info in _entries(signature, number).items()}
        return {
            name: TensorInfo(info[1].decode(), _DTYPES.get(info.get(2, 0), "none"))
            for name, info in found.items()
            if 1 in info
        }

    return {
        name: Signature(tensors(signature, 1), tensors(signature, 2))
        for name, signature in _entries(metagraph, 5).items()
        if not name.startswith("__")  # TensorFlow's own, which runs once after loading
    }
