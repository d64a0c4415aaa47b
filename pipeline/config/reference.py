"""Writes what follows from the models: pipeline/schema.json, and the tables of docs/configuration.md.

Run `python -m pipeline.config.reference` in the root of the repository after a change to the models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.schema import Node, choices, config_schema, describe, is_own, known_keys, members, shape

SCHEMA = Path("pipeline/schema.json")
PAGE = Path("docs/configuration.md")
MARK = "<!-- What follows is written by `python -m pipeline.config.reference`. -->\n"


def schema_text() -> str:
    """Returns the content of pipeline/schema.json."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def reference() -> str:
    """Returns a Markdown table of the keys of each section."""
    sections: dict[str, list[str]] = {}
    for path, node in _sections(shape(), ""):
        sections.setdefault(_section(node), []).append(path)
    parts = []
    for table, paths in sections.items():
        heading = ", ".join(f"`{path}`" for path in paths if path) or "Top level"
        parts.append(f"### {heading}\n\n{table}")
    return "\n".join(parts)


def page_text(page: str) -> str:
    """Returns docs/configuration.md with the tables as they are now."""
    return page.partition(MARK)[0] + MARK + "\n" + reference()


def _sections(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    """Yields the mappings with fixed keys, outer ones first; `*` stands for a key of the user's choice."""
    if any("properties" in member for member in members(node)):
        yield path, node
    for member in members(node):
        children = dict(member.get("properties", {}))
        if isinstance(values := member.get("additionalProperties"), dict):
            children["*"] = values
        for key, child in children.items():
            yield from _sections(child, f"{path}.{key}".lstrip("."))


def _section(node: Node) -> str:
    types = {choices(m)[0]: m for m in members(node) if "type" in known_keys(m)}
    built_in = sum(not is_own(member) for member in types.values())
    rows: dict[tuple[str, ...], list[str]] = {}
    for type_name, member in (types or {"": _mapping(node)}).items():
        for key, child in member["properties"].items():
            if key != "type" or not types:
                default = "required" if key in member.get("required", []) else _default(child)
                cells = (f"`{key}`", _values(child), default, _one_line(child.get("description", "")))
                rows.setdefault(cells, []).append(type_name)
    lines = [f"- `type: {name}`: {_one_line(member['description'])}" for name, member in types.items()]
    if len(types) > 1:
        lines += ["", "| key | of type | value | default | meaning |", "|---|---|---|---|---|"]
        for (key, *others), names in rows.items():
            owners = "all" if len(names) == built_in else ", ".join(names)
            lines.append(f"| {' | '.join([key, owners, *others])} |")
    else:
        lines += ["", "| key | value | default | meaning |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines).lstrip("\n") + "\n"


def _mapping(node: Node) -> Node:
    return next(member for member in members(node) if "properties" in member)


def _values(node: Node) -> str:
    plain = [member for member in members(node) if "properties" not in member]
    if len(plain) == len(members(node)):
        return _code(describe(node))
    return _code(describe({"anyOf": plain})) + ", or a section, below" if plain else "section, below"


def _default(node: Node) -> str:
    return f"`{json.dumps(node['default'])}`" if "default" in node else ""


def _code(words: str) -> str:
    return words.replace("'", "`")


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page_text(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
