"""The base of every configuration model."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Task = Literal["classification", "seq2seq"]
Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# The columns of an example, by task: what is read, and what is to be produced from it.
FIELDS: dict[Task, tuple[str, str]] = {
    "classification": ("text", "label"),
    "seq2seq": ("source", "target"),
}


class Strict(BaseModel):
    """A configuration section: unknown keys and wrong types are errors, values cannot change later."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,  # otherwise each model is built by itself, and then again within the whole
    )
