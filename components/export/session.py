"""Answers of a SavedModel through TensorFlow's C API, the C++ loader that TF Serving uses.

Only the standard library and numpy are imported, neither TensorFlow's Python nor Keras nor this project: what
answers here answers on a server, and start-up does not wait for Python packages. Imports are relative, so
that this package can be loaded by its path without those around it, as replay.py does.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Mapping, Sequence
from ctypes import c_char_p, c_void_p
from types import TracebackType
from typing import NamedTuple

import numpy as np

from .c_api import DTYPES, Output, SavedModelError, array, checked, string_tensor, tensorflow
from .plain_path import plain_path
from .wire import entries, fields

__all__ = ["Inputs", "SavedModelError", "SavedModelSession", "Signature", "TensorInfo"]

Inputs = Sequence[str | bytes] | Mapping[str, Sequence[str | bytes]]
"""A batch of texts, or of several by the name of the input that takes them."""


class TensorInfo(NamedTuple):
    """A signature's input or output: the tensor's name in the graph ("operation:0") and its type."""

    tensor: str
    dtype: str


class Signature(NamedTuple):
    """What a signature takes and gives, by name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


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
        self._api = api = tensorflow()
        options, metagraph = api.TF_NewSessionOptions(), api.TF_NewBuffer()
        self._graph = api.TF_NewGraph()
        try:
            with plain_path(directory) as path:
                self._session = checked(
                    api,
                    api.TF_LoadSessionFromSavedModel,
                    *(options, None, os.fsencode(path), (c_char_p * 1)(b"serve"), 1, self._graph, metagraph),
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

    def run(self, inputs: Inputs, signature: str = "serving_default") -> dict[str, np.ndarray]:
        """Answers a batch.

        Args:
            inputs: The texts, `[B]`, of a signature that takes one string tensor; of any signature such
                texts by the name of the input. `str` is sent as UTF-8.
            signature: Which signature answers. It must take string tensors alone.

        Returns:
            Each output by its name, of any shape; strings are an array of `bytes` objects.

        Raises:
            SavedModelError: If the inputs are not those of the signature; with TensorFlow's message, if the
                model cannot answer.
        """
        if not self._finalizer.alive:
            raise SavedModelError("the session is closed")
        api, spec = self._api, self.signature(signature)
        batches = _by_name(inputs, signature, spec)
        sources = self._endpoints({name: spec.inputs[name] for name in batches})
        targets = self._endpoints(spec.outputs)
        results = (c_void_p * len(spec.outputs))()
        fed = (c_void_p * len(batches))()
        try:
            for index, texts in enumerate(batches.values()):
                encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
                fed[index] = string_tensor(api, encoded)
            checked(
                api,
                api.TF_SessionRun,
                *(self._session, None, sources, fed, len(fed), targets, results, len(results)),
                *(None, 0, None),
            )
            return {name: array(api, result) for name, result in zip(spec.outputs, results, strict=True)}
        finally:
            for used in (*fed, *results):
                if used:  # after an error there are no results
                    api.TF_DeleteTensor(used)  # and the strings in it

    def _endpoints(self, tensors: dict[str, TensorInfo]) -> ctypes.Array[Output]:
        endpoints = (Output * len(tensors))()
        for endpoint, info in zip(endpoints, tensors.values(), strict=True):
            operation, _, index = info.tensor.rpartition(":")
            endpoint.operation = self._api.TF_GraphOperationByName(self._graph, operation.encode())
            endpoint.index = int(index)
            if not endpoint.operation:
                raise SavedModelError(f"the signature names {info.tensor!r}, which the graph does not have")
        return endpoints


def _by_name(inputs: Inputs, signature: str, spec: Signature) -> dict[str, Sequence[str | bytes]]:
    """The texts by the name of the input, if they are what the signature takes."""
    taken = {name: info.dtype for name, info in spec.inputs.items()}
    if not isinstance(inputs, Mapping):
        if list(taken.values()) != ["string"]:
            raise SavedModelError(f"signature {signature!r} takes {taken}; expected one string input")
        return dict.fromkeys(taken, inputs)
    if taken != dict.fromkeys(inputs, "string"):
        raise SavedModelError(f"signature {signature!r} takes {taken}; received texts for {sorted(inputs)}")
    return dict(inputs)


def _close(api: ctypes.CDLL, session: int, graph: int) -> None:
    checked(api, api.TF_CloseSession, session)
    checked(api, api.TF_DeleteSession, session)
    api.TF_DeleteGraph(graph)


def _signatures(metagraph: bytes) -> dict[str, Signature]:
    """The signatures of a serialized MetaGraphDef (its field 5; each has inputs in 1 and outputs in 2)."""

    def tensors(signature: bytes, number: int) -> dict[str, TensorInfo]:
        tensors = {name: dict(fields(info)) for name, info in entries(signature, number).items()}
        return {
            name: TensorInfo(info[1].decode(), DTYPES.get(info.get(2, 0), "none"))
            for name, info in tensors.items()
            if 1 in info
        }

    return {
        name: Signature(tensors(signature, 1), tensors(signature, 2))
        for name, signature in entries(metagraph, 5).items()
        if not name.startswith("__")  # TensorFlow's own, which runs once after loading
    }
