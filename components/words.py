"""Words of pipeline.yaml that stand for sections of which only the `type` is written."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


class OrWord:
    """Annotates a field of sections: a word may stand for a section, and both are the same setting.

    Args:
        words: types of sections that need nothing else.
    """

    def __init__(self, *words: str) -> None:
        self._words = words

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._as_section, handler(source))

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "enum": list(self._words)}, handler(core_schema)]}

    def _as_section(self, value: Any) -> Any:
        return {"type": value} if value in self._words else value
