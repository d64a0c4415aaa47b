"""A training that starts from the weights of an earlier model.

A module without TensorFlow until `start_from`, so that a plan can check an earlier model at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.artifacts.artifact import Reference
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import MODEL, TrainedModel
from components.errors import UserError
from components.models.config import ModelConfig
from components.strict import Strict

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class InitialModel:
    """What a training starts from.

    Args:
        tokens: the tokenize artifact of the earlier model; its part `vocabulary` is read.
        trained: the train artifact of the earlier model; its part `model` is read.
    """

    tokens: Reference
    trained: Reference


def check_network(init: InitialModel, model: ModelConfig) -> None:
    """Checks that a network is that of an earlier model, but for what acts in training only.

    Args:
        init: the earlier model.
        model: the network to be trained.

    Raises:
        UserError: it is not, or its readout is fitted in closed form; the message says what differs.
    """
    if model.readout is not None:
        raise UserError(
            "train.init_from: received an earlier model for a network with `model.readout`, which is fitted "
            "in closed form to the train split alone: the earlier one would be forgotten. Remove "
            "train.init_from and train on all examples together, or remove model.readout."
        )
    trained: TrainedModel = TrainedModel.load(init.trained)
    try:
        earlier = ModelConfig.model_validate(trained.model_config()["config"])
    except ValueError as error:
        raise _unreadable(trained) from error
    if differences := list(_differences("model", model, earlier)):
        raise UserError(
            f"train.init_from: the network differs from that of the earlier model, expected the same: "
            f"{'; '.join(differences)}. Set these keys as they were, or remove train.init_from."
        )


def _differences(path: str, ours: Any, theirs: Any) -> Iterator[str]:
    """Says, key by key, what differs but for what acts in training only."""
    if isinstance(ours, Strict) and isinstance(theirs, Strict):
        if type(ours) is type(theirs):
            # With vectors the width is theirs, which `start_from` compares.
            unknown = {"embedding_size"} if isinstance(ours, ModelConfig) and ours.embeddings.file else set()
            for name in type(ours).model_fields:
                if name not in ours.training_only | unknown:
                    yield from _differences(f"{path}.{name}", getattr(ours, name), getattr(theirs, name))
            return
        path = f"{path}.type"
    if ours != theirs:
        yield f"{path} is {_shown(ours)}, of the earlier model {_shown(theirs)}"


def _shown(value: Any) -> str:
    return "absent" if value is None else str(getattr(value, "type", value))


def start_from(model: keras.Model, tokens: Tokens, init: InitialModel) -> dict[str, Any]:
    """Puts the weights of an earlier model into a new one.

    Args:
        model: a new model of the network that `check_network` has checked.
        tokens: the tokenize artifact that it is trained on.
        init: the earlier model.

    Returns:
        For the summary: `weights`, the digest of the earlier model's, and by field how many tokens or labels
        were `added`.

    Raises:
        UserError: if the vocabularies do not begin with those of the earlier model, or its embeddings have
            another width.
    """
    import keras

    from components.train.scope import training_scope

    trained: TrainedModel = TrainedModel.load(init.trained)
    earlier_tokens: Tokens = Tokens.load(init.tokens)
    try:
        with training_scope(0):  # what is drawn to load it must not shift what the training draws
            earlier = keras.models.load_model(trained.model_file(), compile=False)
    except (TypeError, ValueError) as error:
        raise _unreadable(trained) from error
    old, new = (_vocabularies(learnt, earlier.sizes) for learnt in (earlier_tokens, tokens))
    for field, size in earlier.sizes.items():
        if len(old[field]) != size or new[field][:size] != old[field]:
            raise UserError(
                f"train.init_from: the vocabulary of `{field}` does not begin with the {size:,} entries of "
                "the earlier model, expected it to extend them. Run tokenize again with the same "
                "train.init_from."
            )
    if earlier.config.width != model.config.width:
        raise UserError(
            f"train.init_from: the embeddings of the earlier model are {earlier.config.width} wide, the "
            f"vectors of model.embeddings.file {model.config.width}; expected the same. Give such vectors, "
            "or none, or remove train.init_from."
        )
    warm_start(model, earlier)
    added = {field: model.sizes[field] - size for field, size in earlier.sizes.items()}
    return {"weights": trained.summary["weights"], "added": added}


def _unreadable(trained: TrainedModel) -> UserError:
    return UserError(
        f"train.init_from: {trained.place(MODEL)} is of another version of rnnpipe, which this one cannot "
        "read. Train that model again with this version, or remove train.init_from."
    )


def _vocabularies(tokens: Tokens, fields: Mapping[str, int]) -> dict[str, list[str]]:
    return {field: tokens.labels() if field == "label" else tokens.pieces(field) for field in fields}


def warm_start(model: keras.Model, earlier: keras.Model) -> None:
    """Copies the weights of an earlier model of the same network with the same or smaller vocabularies.

    Entries of tokens and labels that the earlier model has are copied to their places; those of new ones stay
    as they are in `model`: freshly drawn, in the output layer too, where their biases are 0 and their logits
    small beside trained ones. So the logits of the earlier tokens and labels are those of the earlier model
    until the first step. Of tf-idf the weights of the earlier terms are copied as well, because what follows
    was fitted to them; those of new tokens stay what the new train split says.

    The states of random generators, and of what only steers a training, are not copied.

    Args:
        model: a Classifier or a Seq2Seq.
        earlier: another one, of the same class.

    Raises:
        ValueError: if the shapes of two variables do not go together.
    """
    fields = {(id(axis.variable), axis.axis): axis.field for axis in model.vocabulary_axes()}
    for variable, old in zip(_lasting(model), _lasting(earlier), strict=True):
        places = []
        for axis, (length, old_length) in enumerate(zip(variable.shape, old.shape, strict=True)):
            field = fields.get((id(variable), axis))
            size, old_size = (network.sizes[field] if field else 0 for network in (model, earlier))
            if length - size != old_length - old_size or size < old_size:
                raise ValueError(
                    f"Received {variable.path} of shape {variable.shape} for an earlier one of shape "
                    f"{old.shape}, expected axes that differ by new tokens or labels only."
                )
            places.append(np.r_[:old_size, size:length])
        values = np.array(variable.numpy())
        values[np.ix_(*places)] = old.numpy()
        variable.assign(values)


def _lasting(model: keras.Model) -> list[keras.Variable]:
    passing = {id(variable) for variable in model.training_state()}
    return [weight for weight in model.weights if id(weight) not in passing]
