"""Turns pydantic's validation errors into one readable problem for each mistake."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from components.plugins import is_reference
from pipeline.config.problems import KeyPath, Problem, closest, did_you_mean, dotted, quoted, shown
from pipeline.config.schema import (
    Node,
    choices,
    describe,
    is_own,
    key_paths,
    known_keys,
    members,
    own_shape,
    shape,
)

_NUMBER_OR_TRUTH = re.compile(r"[-+.\d]+(e[-+]?\d+)?|true|false", re.IGNORECASE)


def explain(error: ValidationError, data: dict[str, Any]) -> list[Problem]:
    """Returns the problems that `error` found in `data`, at most one for each place.

    What the validator of the whole configuration found is left out: the sections are checked one by one.
    """
    problems: dict[KeyPath, Problem] = {}
    meant: set[KeyPath] = set()
    missing: set[KeyPath] = set()
    for details in error.errors(include_url=False):
        if not details["loc"]:
            continue
        problem = _explain_one(details, data)
        problems.setdefault(problem.path, problem)
        if details["type"] == "missing":
            missing.add(problem.path)
        elif details["type"] == "extra_forbidden":  # the key it was meant to be is not missing as well
            *section, key = problem.path
            meant.add((*section, closest(str(key), _known(tuple(section), data)) or ""))
    # Each member of a union complains, those that were not meant about the value as a whole.
    outer = {path[:length] for path in problems for length in range(len(path))}
    return [problem for path, problem in problems.items() if path not in outer | (meant & missing)]


def _explain_one(details: ErrorDetails, data: dict[str, Any]) -> Problem:
    kind, location = details["type"], details["loc"]
    if location[-1] == "[key]":
        kind, location = "extra_forbidden" if kind != "value_error" else kind, location[:-1]
    if kind == "unknown_metric" and isinstance(location[-1], str):  # a key among fixed ones
        kind = "extra_forbidden"
    path = _data_path(location, shape(), data)
    node, value = look_up(path, data)
    match kind:
        case "extra_forbidden":
            return Problem(path, _unknown_key(path, data))
        case "missing":
            return Problem(path, f"missing; expected {describe(node)}")
        case "union_tag_not_found":
            mistyped = next((key for key in value if closest(key, _known(path, data)) == "type"), None)
            if mistyped:
                return Problem((*path, mistyped), _unknown_key((*path, mistyped), data))
            return Problem((*path, "type"), f"missing; expected {describe(_type_node(node))}")
        case "union_tag_invalid":
            return Problem((*path, "type"), _wrong_value(value["type"], _type_node(node)))
        case "value_error":
            return _own_check(path, str(details["ctx"]["error"]), known_keys(_meant_member(node, value)))
    return Problem(path, _wrong_value(value, node))


def _own_check(path: KeyPath, message: str, keys: list[str]) -> Problem:
    """Returns what a section says of itself; a message that begins with one of its keys is about that key."""
    key, _, rest = message.partition(" ")
    return Problem((*path, key), rest) if key in keys else Problem(path, message)


def _data_path(location: tuple[int | str, ...], node: Node, value: Any) -> KeyPath:
    """Returns `location` without the names of the unions' members that pydantic puts between the keys."""
    if not location:
        return ()
    key, inner, member = location[0], location[1:], _meant_member(node, value)
    if len(members(node)) > 1 and not _is_own(node, value):
        return _data_path(inner, member, value)
    return (key, *_data_path(inner, _child(member, key), _item(value, key)))


def look_up(path: KeyPath, data: Any) -> tuple[Node, Any]:
    """Returns what may stand at a place of a configuration, and what does.

    Args:
        path: of the place.
        data: of the configuration; its types decide between the members of unions.
    """
    node = shape()
    for key in path:
        node, data = _child(_meant_member(node, data), key), _item(data, key)
    return node, data


def _meant_member(node: Node, value: Any) -> Node:
    """Returns the member of a union that has the kind, and the type name, of `value`."""
    options = members(node)
    if len(options) == 1:
        return options[0]
    if _is_own(node, value):
        return own_shape(value["type"]) or next(filter(is_own, options))
    for member in options:
        kind = member.get("properties", {}).get("type", {})
        match value:
            case dict() if member.get("type") == "object" and kind.get("const") in (
                None,
                value.get("type", kind.get("default")),
            ):
                return member
            case list() if member.get("type") == "array":
                return member
    mappings = [member for member in options if member.get("type") == "object"]
    return mappings[0] if isinstance(value, dict) and len(mappings) == 1 else {}


def _is_own(node: Node, value: Any) -> bool:
    """Whether `value` names a class in a module of the user's, where that may be."""
    named = isinstance(value, dict) and is_reference(value.get("type"))
    return named and any(map(is_own, members(node)))


def _child(node: Node, key: int | str) -> Node:
    if isinstance(key, int):
        return node.get("items", {})
    others = node.get("additionalProperties")
    return node.get("properties", {}).get(key) or (others if isinstance(others, dict) else {})


def _item(value: Any, key: int | str) -> Any:
    if isinstance(value, list):
        return value[key] if isinstance(key, int) else None
    return value.get(key) if isinstance(value, dict) else None


def _type_node(node: Node) -> Node:
    return {"enum": choices(node)}


def _known(section: KeyPath, data: dict[str, Any]) -> list[str]:
    node, value = look_up(section, data)
    member = _meant_member(node, value)
    return known_keys(member) or list(
        dict.fromkeys(key for member in members(node) for key in known_keys(member))
    )


def _unknown_key(path: KeyPath, data: dict[str, Any]) -> str:
    *section, key = path
    known = _known(tuple(section), data)
    renamed = _renamed(path, data)
    if renamed:
        return f"renamed to {renamed}"
    belongs = _belongs(path, data)
    hint = belongs if f"to {dotted(tuple(section))}." in belongs else did_you_mean(key, known) or belongs
    return f"unknown key{hint or ';'} known: {', '.join(known)}"


def _renamed(path: KeyPath, data: dict[str, Any]) -> str:
    """Returns what the last key of `path` is called now; empty if it never was a key there."""
    *section, key = path
    node, value = look_up(tuple(section), data)
    member = _meant_member(node, value)
    new_name: str = member.get("x-renamed", {}).get(key, "")
    return new_name


def _belongs(path: KeyPath, data: dict[str, Any]) -> str:
    """Returns a hint at the other type, or the other section, that the last key of `path` belongs to."""
    *section, key = path
    node, _ = look_up(tuple(section), data)
    types = [name for member in members(node) if key in known_keys(member) for name in choices(member)]
    if types:
        return f"; it belongs to type {quoted(types)};"
    elsewhere = [other[:-1] for other in key_paths(shape()) if other[-1] == key]
    if not elsewhere or not any("properties" in member for member in members(node)):
        return ""
    nearest = min(elsewhere, key=lambda other: other[: len(section)] != tuple(section))
    return f"; it belongs to {dotted(nearest) or 'the top level'};"


def _wrong_value(value: Any, node: Node) -> str:
    kinds = {member.get("type") for member in members(node)}
    words = choices(node)
    hint = did_you_mean(value, words)
    if hint and kinds == {"object"}:
        hint = f"; did you mean {{type: {closest(value, words)}}}?"
    elif isinstance(value, str) and "string" not in kinds and _NUMBER_OR_TRUTH.fullmatch(value):
        hint = "; remove the quotes"
    elif isinstance(value, int | float) and kinds == {"string"} and not words:
        hint = "; put it in quotes"
    elif _is_percentage(value, node):
        hint = f"; did you mean {value / 100:g}?"
    return f"received {shown(value)}, expected {describe(node)}{hint}"


def _is_percentage(value: Any, node: Node) -> bool:
    """Whether a fraction seems to be written in percent."""
    numbers = [member for member in members(node) if member.get("type") == "number"]
    of_one = any(1 in (each.get("maximum"), each.get("exclusiveMaximum")) for each in numbers)
    return of_one and isinstance(value, int | float) and 10 <= value < 100
