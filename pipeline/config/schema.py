"""The JSON schema of pipeline.yaml, and what it says in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic.errors import PydanticUserError

from components.evaluate.metrics import METRICS
from components.plugins import PluginError, load
from pipeline.config.models import PipelineConfig
from pipeline.config.problems import KeyPath, joined, quoted

Node = dict[str, Any]

_BOUNDS = {
    "minimum": "of at least",
    "exclusiveMinimum": "above",
    "maximum": "of at most",
    "exclusiveMaximum": "below",
}


def config_schema() -> dict[str, Any]:
    """Returns the JSON schema (draft 2020-12) of pipeline.yaml, for editors and other tools."""
    whole = PipelineConfig.model_json_schema()
    required = [key for key in whole["required"] if key != "model"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "required": required,
        "anyOf": [{"required": ["model"]}, {"required": ["sweep"]}],  # which may sweep over whole models
        "title": "pipeline.yaml",
    }


def shape() -> Node:
    """Returns the schema with every reference replaced by what it refers to."""
    return _shape(tuple(METRICS))


@cache
def _shape(metrics: tuple[str, ...]) -> Node:
    """Remembered until a metric is registered."""
    return _inlined_whole(PipelineConfig.model_json_schema())


def own_shape(reference: str) -> Node | None:
    """Returns the same of a section for a class in a module of the user's; None if it cannot be used."""
    try:
        return _inlined_whole(load(reference).model_json_schema())
    except (PluginError, PydanticUserError, AttributeError):
        return None


def is_own(node: Node) -> bool:
    """Whether a member of a union stands for all classes that only modules of the user's know."""
    return "pattern" in node.get("properties", {}).get("type", {})


def _inlined_whole(schema: Node) -> Node:
    inlined: Node = _inlined(schema, schema.get("$defs", {}))
    return inlined


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = definitions[node["$ref"].rpartition("/")[2]] | {k: v for k, v in node.items() if k != "$ref"}
    return {key: _inlined(value, definitions) for key, value in node.items() if key != "$defs"}


def members(node: Node) -> list[Node]:
    """Returns the members of a union (a union of one for any other node); null is left out."""
    options = node.get("anyOf") or node.get("oneOf")
    if options is None:
        return [node]
    return [member for option in options if option.get("type") != "null" for member in members(option)]


def known_keys(node: Node) -> list[str]:
    """Returns the keys that a mapping of this shape may have; none where any key will do."""
    return choices(node["propertyNames"]) if "propertyNames" in node else list(node.get("properties", {}))


def choices(node: Node) -> list[str]:
    """Returns the words that may stand here, or after `type` where there are several types of mapping.

    What a module of the user's may add stands there as an example, `my_module:MyEncoder`.
    """
    nodes = [member.get("properties", {}).get("type", member) for member in members(node)]
    return list(dict.fromkeys(word for node in nodes for word in _fixed(node)))


def _fixed(node: Node) -> list[str]:
    return node.get("enum") or ([node["const"]] if "const" in node else node.get("examples", []))


def key_paths(node: Node, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yields the path of every key, those of a union's members beside each other."""
    for member in members(node):
        for key, child in member.get("properties", {}).items():
            yield (*path, key)
            yield from key_paths(child, (*path, key))


def describe(node: Node) -> str:
    """Returns what may stand at a place of the configuration, in words."""
    options = members(node)
    nullable = any(option.get("type") == "null" for option in node.get("anyOf", []))
    if "type" in options[-1].get("properties", {}):
        words = [f"a mapping whose type is {quoted(choices(node))}"]
        if "properties" not in options[0]:
            words = [f"{quoted(choices(node))}, or a mapping of such a type"]
    else:
        words = [word for option in options for word in _describe_one(option)]
    return joined([*words, "null"] if nullable else words)


def _describe_one(node: Node) -> list[str]:
    if words := _fixed(node):
        return [f"'{word}'" for word in words]
    match node.get("type"):
        case None:
            return ["any value"]
        case "string":
            return [f"text that matches '{node['pattern']}'" if "pattern" in node else "text"]
        case "boolean":
            return ["true or false"]
        case "array":
            return [f"a list of {describe(node['items'])}"]
        case "object":
            keys = known_keys(node)
            return [f"a mapping with the keys {joined(keys, 'and')}" if keys else "a mapping"]
    number = "a whole number" if node["type"] == "integer" else "a number"
    bounds = [f"{words} {node[bound]}" for bound, words in _BOUNDS.items() if bound in node]
    return [" ".join(filter(None, [number, joined(bounds, "and")]))]
