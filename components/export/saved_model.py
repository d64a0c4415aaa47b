"""Writes the SavedModel that TF Serving loads, and checks how it is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

SIGNATURE = "serving_default"


def export_saved_model(
    function: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    tokenizers: Sequence[tf.Module],
    directory: str,
    sources: Sequence[str] = (),
) -> None:
    """Freezes a function from strings to answers into a SavedModel with the signature `serving_default`.

    The variables are found as what the function captures. Only lookup tables have to be named, by the modules
    that hold them; a tracked Keras model would have each of its variables written a second time.

    Args:
        function: Takes `text`, strings `[B]`; returns its outputs by name, each of shape `[B, ...]`.
        tokenizers: The modules whose lookup tables the function uses.
        directory: Where to write; created.
        sources: Directories that the exported parts were read from, on which the model must not depend.

    Raises:
        RuntimeError: If what was written would not stand on its own.
    """
    archive = keras.export.ExportArchive()
    for tokenizer in tokenizers:
        archive.track(tokenizer)
    endpoint = archive.add_endpoint(
        SIGNATURE,
        lambda text: function(text),
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    archive.write_out(directory, verbose=False)
    variables = {id(variable) for variable in endpoint.get_concrete_function().variables}
    problems = structure_problems(directory, len(variables), [directory, *sources])
    if problems:
        raise RuntimeError(f"the SavedModel in {directory} is not sound: {'; '.join(problems)}")


def structure_problems(directory: str, variables: int, paths: Sequence[str] = ()) -> list[str]:
    """What would keep a SavedModel from being served elsewhere.

    Args:
        directory: The directory that holds `saved_model.pb`.
        variables: How many variables the served function uses.
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
