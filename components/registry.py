"""Unions of configuration classes by `type`, to which a user's module can add."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, get_args

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.errors import PydanticUserError
from pydantic_core import CoreSchema, core_schema

from components.plugins import PATTERN, Pluggable, PluginError, is_reference, kind_of, load, place_of


class Registry:
    """A kind of section whose `type` decides the class: one of the built-in ones, or `module:Class`.

    Use it as the metadata of a field: `Annotated[EncoderConfig, ENCODERS]`.

    Args:
        module: where users import `base` from.
        base: the class that all of them derive from; its public methods without a body are what a class of
            the user's must define.
        types: the built-in classes, each with its name as the only value of `type`.
    """

    def __init__(self, module: str, base: type[Pluggable], types: Sequence[type[Pluggable]]) -> None:
        self.base = base
        self._public = f"{module}.{base.__name__}"
        self.types: dict[str, type[Pluggable]] = {
            get_args(kind.model_fields["type"].annotation)[0]: kind for kind in types
        }

    def kind(self, name: object) -> type[Pluggable] | None:
        """Returns the class that a `type` means; None if there is none, which validation explains."""
        if not is_reference(name):
            return self.types.get(str(name))
        try:
            return self._load(str(name))
        except PluginError:
            return None

    def _load(self, reference: str) -> type[Pluggable]:
        loaded = load(reference)
        if not isinstance(loaded, type):
            raise PluginError(f"which is {kind_of(loaded)}, expected a class derived from {self._public}")
        where = place_of(sys.modules[loaded.__module__])
        if not issubclass(loaded, self.base):
            raise PluginError(f"which does not derive from {self._public} (see {where})")
        if missing := sorted(getattr(loaded, "__abstractmethods__", ())):
            raise PluginError(f"which lacks the method {', '.join(missing)}; define it in {where}")
        try:
            loaded.model_rebuild()
        except (PydanticUserError, NameError) as error:
            raise PluginError(f"whose fields cannot be read (see {where}): {error}") from error
        return loaded

    def _validate(self, value: Any, built_in: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, self.base) and is_reference(value.type):
            return value
        if not isinstance(value, dict) or not is_reference(value.get("type")):
            return built_in(value)
        try:
            kind = self._load(value["type"])
        except PluginError as error:
            raise PluginError(f"type received '{value['type']}', {error}") from error
        return kind.model_validate(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The union of the built-in classes by `type`; references are looked up first."""
        union: Any = Annotated[reduce(or_, self.types.values()), Field(discriminator="type")]
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            handler.generate_schema(union),
            serialization=core_schema.simple_ser_schema("any"),  # by its own class, which no union knows
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Adds to the union a mapping of any keys, with a reference as its `type`."""
        described = handler(schema)
        described["oneOf"] = [*described["oneOf"], self._own_class()]
        return described

    def _own_class(self) -> dict[str, Any]:
        example = f"my_module:My{self.base.__name__.removesuffix('Config')}"
        return {
            "type": "object",
            "title": "OwnClass",
            "description": f"A class of your own, derived from `{self._public}`; its fields are the keys.",
            "properties": {"type": {"type": "string", "pattern": PATTERN, "examples": [example]}},
            "required": ["type"],
            "additionalProperties": True,
        }
