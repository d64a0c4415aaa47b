"""Writes the SavedModel that TF Serving loads, and checks how it is built."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.export.plain_path import plain_path

CLASSIFY = "classify"
"""The signature that TF Serving's Classify calls; it takes serialized `tf.train.Example`s as `inputs`."""

SCORE = "score"
"""The signature that takes a target beside each text."""

_INPUTS = {CLASSIFY: ("inputs",), SCORE: ("text", "target")}


def input_names(signature: str) -> tuple[str, ...]:
    """Returns what the inputs of a signature are called; all are strings [B]."""
    return _INPUTS.get(signature, ("text",))


def export_saved_model(
    signatures: Mapping[str, Callable[..., dict[str, tf.Tensor]]],
    tokenizers: Sequence[tf.Module],
    directory: str,
) -> list[tf.Variable]:
    """Freezes functions from strings to answers into a SavedModel.

    The variables are found as what the functions capture. Only lookup tables have to be named, by the modules
    that hold them; a tracked Keras model would have each of its variables written a second time.

    Args:
        signatures: The functions by the name that they are served under, `serving_default` among them. Each
            takes strings `[B]`, one argument for each of its `input_names`, and returns its outputs by name,
            each of shape `[B, ...]`.
        tokenizers: The modules whose lookup tables the functions use.
        directory: Where to write; created.

    Returns:
        The variables that the functions use, which must be what is stored: see `structure_problems`.
    """
    archive = keras.export.ExportArchive()
    for tokenizer in tokenizers:
        archive.track(tokenizer)
    endpoints = [
        archive.add_endpoint(
            name,
            functools.partial(_call, function),
            input_signature=[tf.TensorSpec([None], tf.string, name=taken) for taken in input_names(name)],
        )
        for name, function in signatures.items()
    ]
    archive.write_out(directory, verbose=False)
    if CLASSIFY in signatures:
        _set_method(directory, CLASSIFY, "tensorflow/serving/classify")
    used = [endpoint.get_concrete_function().variables for endpoint in endpoints]
    return list({id(variable): variable for variables in used for variable in variables}.values())


def _call(function: Callable[..., dict[str, tf.Tensor]], *texts: tf.Tensor) -> dict[str, tf.Tensor]:
    return function(*texts)


def _set_method(directory: str, signature: str, method: str) -> None:
    """Writes which of TF Serving's calls a signature is for; TensorFlow 2 says `predict` of every one."""
    path = Path(directory) / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (metagraph,) = model.meta_graphs
    metagraph.signature_def[signature].method_name = method
    path.write_bytes(model.SerializeToString(deterministic=True))


def structure_problems(
    directory: str, variables: Sequence[tf.Variable], paths: Sequence[str] = ()
) -> list[str]:
    """What would keep a SavedModel from being served elsewhere, or as the model it was made from.

    Args:
        directory: The directory that holds `saved_model.pb`.
        variables: Those of the served functions, as `export_saved_model` returns them.
        paths: Paths of this machine that must not occur in the model.

    Returns:
        One sentence for each problem; none if the model is sound.
    """
    root = Path(directory)
    serialized = (root / "saved_model.pb").read_bytes()
    (metagraph,) = saved_model_pb2.SavedModel.FromString(serialized).meta_graphs
    assets = {asset.filename for asset in metagraph.asset_file_def}
    problems = [
        f"assets/{name} is missing" for name in sorted(assets) if not (root / "assets" / name).is_file()
    ]
    problems += _variable_problems(root / "variables", variables)
    absolute = sorted({os.path.abspath(path) for path in paths})
    problems += [f"saved_model.pb names {path}" for path in absolute if os.fsencode(path) in serialized]
    return problems


def _variable_problems(directory: Path, variables: Sequence[tf.Variable]) -> list[str]:
    """How the stored variables differ from the given ones, whatever their names."""
    try:
        with plain_path(directory) as path:
            reader = tf.train.load_checkpoint(os.path.join(path, "variables"))
            digests = {name: _digest(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
    except (tf.errors.OpError, ValueError, IndexError) as error:
        return [f"the variables cannot be read: {error}"]
    stored = Counter(
        digest
        for name, digest in digests.items()
        if name.endswith("/.ATTRIBUTES/VARIABLE_VALUE") and not name.startswith("save_counter/")
    )
    if stored.total() != len(variables):
        return [f"{stored.total()} variables are stored, but the model has {len(variables)}"]
    others = (stored - Counter(_digest(variable.numpy()) for variable in variables)).total()
    return [f"{others} of {len(variables)} variables are not those of the model"] if others else []


def _digest(value: Any) -> str:
    array = np.asarray(value)
    return hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).hexdigest()
