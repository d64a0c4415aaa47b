"""Writes the SavedModel that TF Serving loads, and checks how it is built."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

CLASSIFY = "classify"
"""The signature that TF Serving's Classify calls; it takes serialized `tf.train.Example`s as `inputs`."""


def export_saved_model(
    signatures: Mapping[str, Callable[[tf.Tensor], dict[str, tf.Tensor]]],
    tokenizers: Sequence[tf.Module],
    directory: str,
    sources: Sequence[str] = (),
) -> None:
    """Freezes functions from strings to answers into a SavedModel.

    The variables are found as what the functions capture. Only lookup tables have to be named, by the modules
    that hold them; a tracked Keras model would have each of its variables written a second time.

    Args:
        signatures: The functions by the name that they are served under, `serving_default` among them. Each
            takes `text` (`classify`: `inputs`), strings `[B]`, and returns its outputs by name, each of shape
            `[B, ...]`.
        tokenizers: The modules whose lookup tables the functions use.
        directory: Where to write; created.
        sources: Directories that the exported parts were read from, on which the model must not depend.

    Raises:
        RuntimeError: If what was written would not stand on its own.
    """
    archive = keras.export.ExportArchive()
    for tokenizer in tokenizers:
        archive.track(tokenizer)
    endpoints = [
        archive.add_endpoint(
            name,
            functools.partial(_call, function),
            input_signature=[tf.TensorSpec([None], tf.string, name="inputs" if name == CLASSIFY else "text")],
        )
        for name, function in signatures.items()
    ]
    archive.write_out(directory, verbose=False)
    if CLASSIFY in signatures:
        _set_method(directory, CLASSIFY, "tensorflow/serving/classify")
    variables = {
        id(variable) for endpoint in endpoints for variable in endpoint.get_concrete_function().variables
    }
    problems = structure_problems(directory, len(variables), [directory, *sources])
    if problems:
        raise RuntimeError(f"the SavedModel in {directory} is not sound: {'; '.join(problems)}")


def _call(function: Callable[[tf.Tensor], dict[str, tf.Tensor]], text: tf.Tensor) -> dict[str, tf.Tensor]:
    return function(text)


def _set_method(directory: str, signature: str, method: str) -> None:
    """Writes which of TF Serving's calls a signature is for; TensorFlow 2 says `predict` of every one."""
    path = Path(directory) / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (metagraph,) = model.meta_graphs
    metagraph.signature_def[signature].method_name = method
    path.write_bytes(model.SerializeToString(deterministic=True))


def structure_problems(directory: str, variables: int, paths: Sequence[str] = ()) -> list[str]:
    """What would keep a SavedModel from being served elsewhere.

    Args:
        directory: The directory that holds `saved_model.pb`.
        variables: How many variables the served functions use.
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
    stored = [
        name
        for name, _ in tf.train.list_variables(str(root / "variables" / "variables"))
        if name.endswith("/.ATTRIBUTES/VARIABLE_VALUE") and not name.startswith("save_counter/")
    ]
    if len(stored) != variables:
        problems.append(f"{len(stored)} variables are stored, but the model has {variables}")
    absolute = sorted({os.path.abspath(path) for path in paths})
    problems += [f"saved_model.pb names {path}" for path in absolute if os.fsencode(path) in serialized]
    return problems
