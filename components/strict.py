"""The base of every configuration model."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

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

    renamed: ClassVar[Mapping[str, str]] = {}
    """What keys of earlier versions are called now; messages tell it to those who use the old ones."""

    training_only: ClassVar[frozenset[str]] = frozenset()
    """Keys that act while a model is trained, and change nothing in how a trained one answers."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Adds `renamed` to the schema."""
        schema = handler(core_schema)
        if cls.renamed:
            handler.resolve_ref_schema(schema)["x-renamed"] = dict(cls.renamed)
        return schema
