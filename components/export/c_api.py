"""TensorFlow's C API by ctypes: its functions, and tensors to and from NumPy.

Only the standard library and numpy are imported; see session.py.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

# tensorflow/core/framework/types.proto
DTYPES = {
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


class Output(ctypes.Structure):
    """TF_Output: one of an operation's outputs, or where something is fed."""

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
        + [POINTER(Output), POINTER(c_void_p), c_int] * 2
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
def tensorflow() -> ctypes.CDLL:
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
        checked(api, api.TF_LoadLibrary, os.fsencode(operations))
    return api


def checked(api: ctypes.CDLL, function: Any, *arguments: Any) -> Any:
    """Calls a function whose last argument is a TF_Status, and raises what that says."""
    status = api.TF_NewStatus()
    try:
        result = function(*arguments, status)
        if api.TF_GetCode(status):
            raise SavedModelError(api.TF_Message(status).decode(errors="replace"))
        return result
    finally:
        api.TF_DeleteStatus(status)


def string_tensor(api: ctypes.CDLL, texts: Sequence[bytes]) -> int:
    """Copies strings into a new tensor [B], which the caller deletes."""
    size = _STRING_BYTES * len(texts)
    tensor: int = api.TF_AllocateTensor(_STRING, byref(c_int64(len(texts))), 1, size)
    data = api.TF_TensorData(tensor)
    for index, text in enumerate(texts):
        string = data + _STRING_BYTES * index
        api.TF_StringInit(string)
        api.TF_StringCopy(string, text, len(text))
    return tensor


def array(api: ctypes.CDLL, tensor: int) -> np.ndarray:
    """Copies a tensor out of TensorFlow's memory."""
    shape = [api.TF_Dim(tensor, axis) for axis in range(api.TF_NumDims(tensor))]
    code = api.TF_TensorType(tensor)
    data, count = api.TF_TensorData(tensor), math.prod(shape)
    if code == _STRING:
        strings = np.empty(count, dtype=object)
        for index in range(count):
            string = data + _STRING_BYTES * index
            strings[index] = ctypes.string_at(
                api.TF_StringGetDataPointer(string), api.TF_StringGetSize(string)
            )
        return strings.reshape(shape)
    if code not in DTYPES:
        raise SavedModelError(f"an output has TensorFlow's type number {code}; expected one of {DTYPES}")
    raw = ctypes.string_at(data, api.TF_TensorByteSize(tensor)) if count else b""
    return np.frombuffer(raw, dtype=DTYPES[code]).reshape(shape).copy()
