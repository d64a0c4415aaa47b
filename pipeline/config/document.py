"""Reads YAML into plain data, and keeps where each value was written."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from pipeline.config.problems import ConfigError, KeyPath, cut, dotted, shown

_TAG = "tag:yaml.org,2002:"
_MADE = {f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float")}
_KEPT = {f"{_TAG}{kind}" for kind in ("str", "map", "seq", "timestamp", "merge")}  # dates are text here

# Far more than any configuration needs, and little enough to be read at once.
_MOST_CHARACTERS = 1_000_000
_MOST_VALUES = 100_000
_DEEPEST = 50
_LONGEST_LABEL = 200

_ADVICE = {
    "'\\t'": " (a tab: indent with spaces)",
    "that cannot start any token": " (quote text that starts with it)",
    "mapping values are not allowed here": " (quote text that contains ': ', or mend the indentation)",
}


class Origin(NamedTuple):
    """Where something was written; origins sort by line in the file, then by the order of the overrides."""

    order: tuple[int, int]
    label: str


class Entry(NamedTuple):
    """A problem and its place, in full."""

    origin: Origin
    message: str

    def __str__(self) -> str:
        return f"{self.origin.label}: {self.message}"


class Document:
    """A YAML file with overrides; nothing but plain data is ever made from either.

    Args:
        text: YAML 1.2.
        name: The file's name, for messages.

    Attributes:
        data: The mapping that the file holds.
        problems: What could not be taken into `data`, such as second values of a key.
        refused: The places in `data` where null stands for something else that was refused.

    Raises:
        ConfigError: `text` is no YAML, or no mapping.
    """

    def __init__(self, text: str, name: str) -> None:
        self.problems: list[Entry] = []
        self.refused: set[KeyPath] = set()
        self._name = name
        self._overrides = 0
        self._values = 0
        self._origins: dict[KeyPath, Origin] = {}
        try:
            root = _parse(text)
        except _SyntaxError as error:
            raise ConfigError(f"{name}:{error.line}: {error}") from None
        if not isinstance(root, MappingNode):
            problem = "the file is empty" if root is None else "received no mapping"
            raise ConfigError(f"{name}:1: {problem}, expected keys such as 'name: dates'")
        self.data: dict[str, Any] = self._read(root, ())

    def origin(self, path: KeyPath) -> Origin:
        """Returns where `path` was written; for what is missing, where the section around it was."""
        while path not in self._origins:
            path = path[:-1]
        return self._origins[path]

    def override(self, assignment: str) -> None:
        """Sets one value, as --set does.

        Args:
            assignment: `path=value`: keys and list indices with dots between, and YAML.
        """
        self._overrides += 1
        origin = Origin((1, self._overrides), f"--set {cut(assignment, _LONGEST_LABEL)}")
        written_path, equals, text = assignment.partition("=")
        keys = written_path.strip().split(".")
        if not equals or not all(keys):
            self._report(origin, "expected path=value, such as train.epochs=5")
            return
        if len(keys) > _DEEPEST:
            self._report(origin, f"received a path of {len(keys)} keys, expected at most {_DEEPEST}")
            return
        try:
            self._assign(keys, _parse(text), origin)
        except _SyntaxError as error:
            self._report(origin, str(error))

    def _assign(self, keys: list[str], node: Node | None, origin: Origin) -> None:
        place: Any = self.data
        path: KeyPath = ()
        for word in keys[:-1]:
            key = self._key(place, word, path, origin)
            if key is None:
                return
            path = (*path, key)
            if isinstance(place, dict) and place.get(word) is None:
                place[word] = {}
                self._origins[path] = origin
            place = place[key]
        key = self._key(place, keys[-1], path, origin)
        if key is None:
            return
        path = (*path, key)
        for known in [known for known in self._origins if known[: len(path)] == path]:
            del self._origins[known]
        self._origins[path] = origin
        place[key] = None if node is None else self._read(node, path, origin)

    def _key(self, place: Any, word: str, path: KeyPath, origin: Origin) -> str | int | None:
        """Returns `word` as a key of `place`, or None when there can be none."""
        if isinstance(place, dict):
            return word
        if not isinstance(place, list):
            self._report(origin, f"{dotted(path)} is {shown(place)}, which has no '{word}'")
            return None
        index = next((index for index in range(len(place)) if str(index) == word), None)
        if index is not None:
            return index
        self._report(
            origin,
            f"{dotted(path)} has {len(place)} items; received {shown(word)}, expected an index below "
            f"{len(place)}",
        )
        return None

    def _read(
        self, node: Node, path: KeyPath, override: Origin | None = None, outer: tuple[Node, ...] = ()
    ) -> Any:
        """Returns the plain value of `node`, and notes where everything in it was written."""
        self._origins.setdefault(path, override or self._line(node))
        self._values += 1
        if self._values > _MOST_VALUES:
            raise ConfigError(
                f"{(override or self._line(node)).label}: with its aliases written out, this is more than "
                f"{_MOST_VALUES:,} values; write out what is meant"
            )
        if any(node is ancestor for ancestor in outer):
            return self._refuse(path, "an alias of the very value it is in; write the value out")
        if node.tag not in _MADE | _KEPT:
            return self._refuse(path, f"received the tag {node.tag}, expected plain values")
        if isinstance(node, ScalarNode):
            return self._read_scalar(node, path)
        outer = (*outer, node)
        if isinstance(node, SequenceNode):
            return [
                self._read(item, (*path, index), override, outer) for index, item in enumerate(node.value)
            ]
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, there = key_node.value, override or self._line(key_node)
            inner: KeyPath = (*path, key)
            if not isinstance(key, str):
                self._report(there, f"{dotted(path)}: received a list or a mapping as a key, expected a word")
            elif key in mapping:
                self._report(there, f"{dotted(inner)}: written twice; keep one")
            else:
                self._origins[inner] = there
                mapping[key] = self._read(value_node, inner, override, outer)
        return mapping

    def _read_scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        if node.tag in _KEPT:
            if "\0" in node.value:
                return self._refuse(path, "received text with a NUL character, which nothing here can hold")
            return node.value
        try:
            value = _yaml().constructor.construct_object(node)
        except (ValueError, KeyError):  # an explicit tag on something else, such as `!!int many`
            return self._refuse(path, f"{shown(node.value)} is no {str(node.tag).removeprefix(_TAG)}")
        if isinstance(value, float) and not math.isfinite(value):
            return self._refuse(path, f"received {cut(node.value)}, expected a finite number")
        return value

    def _line(self, node: Node) -> Origin:
        line = node.start_mark.line + 1
        return Origin((0, line), f"{self._name}:{line}")

    def _report(self, origin: Origin, message: str) -> None:
        self.problems.append(Entry(origin, message))

    def _refuse(self, path: KeyPath, message: str) -> None:
        self.refused.add(path)
        self._report(self._origins[path], f"{dotted(path)}: {message}")


class _SyntaxError(Exception):
    """What is wrong with a text that is no YAML, and the line, from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = _DEEPEST
    return yaml


def _parse(text: str) -> Node | None:
    """Returns the YAML node of `text`, None when it is empty."""
    if len(text) > _MOST_CHARACTERS:
        raise _SyntaxError(
            f"received {len(text):,} characters, expected at most {_MOST_CHARACTERS:,}: "
            "this is no configuration",
            1,
        )
    try:
        return _yaml().compose(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _SyntaxError(
            f"not valid YAML: the character {chr(error.character)!r} is not allowed", line
        ) from None
    except MaxDepthExceededError as error:
        line = error.problem_mark.line + 1
        raise _SyntaxError(
            f"nested more than {_DEEPEST} deep, expected sections of a few keys", line
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        advice = next((advice for sign, advice in _ADVICE.items() if sign in error.problem), "")
        began = error.context_mark
        within = (
            f"{error.context} that begins in line {began.line + 1}: "
            if began and began.line < mark.line
            else ""
        )
        raise _SyntaxError(f"not valid YAML: {within}{error.problem}{advice}", mark.line + 1) from None
