"""What a key is the hash of."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

_ENCODER = json.JSONEncoder(sort_keys=True)
KEY_LENGTH = 16  # hexadecimal characters: 64 bits, no clash within one root


@dataclass(frozen=True)
class Ingredients:
    """Everything that shapes an artifact, or a part of one.

    Args:
        settings: as JSON, by the path of the key in pipeline.yaml.
        upstream: the keys of what is read, by "stage part".
        libraries: versions by distribution.
        source: hash of the code that makes it.
        data: hashes of the user's files by split.
    """

    settings: Mapping[str, str]
    upstream: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    data: Mapping[str, str] = field(default_factory=dict)

    def key(self, part: str = "") -> str:
        """Returns the hash of all of it.

        Args:
            part: the name of a part of the artifact; empty for the whole.
        """
        text = f"[{json.dumps(part)}, {self._text}]"
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]

    @functools.cached_property
    def _text(self) -> str:
        return _ENCODER.encode(self.as_json())

    def reduced(
        self,
        without: Collection[str] = (),
        upstream: Collection[str] | None = None,
        data: Collection[str] | None = None,
    ) -> Ingredients:
        """Returns what shapes only a part.

        Args:
            without: settings that do not, each with all keys below it.
            upstream: what of it is read; None: all.
            data: which splits are read; None: all.
        """
        below = tuple(f"{other}." for other in without)
        settings = {
            name: value
            for name, value in self.settings.items()
            if name not in without and not name.startswith(below)
        }
        return replace(
            self,
            settings=settings,
            upstream=_only(self.upstream, upstream),
            data=_only(self.data, data),
        )

    def as_json(self) -> dict[str, Any]:
        """As data that JSON can hold."""
        return {
            "settings": dict(self.settings),
            "upstream": dict(self.upstream),
            "libraries": dict(self.libraries),
            "source": self.source,
            "data": dict(self.data),
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Ingredients | None:
        """Reads what `as_json` gave; None for anything else, such as what another version noted."""
        try:
            return _adapter().validate_python(values)
        except ValidationError:
            return None

    def likeness(self, other: Ingredients) -> int:
        """Counts what is the same in both."""
        pairs = zip(self.as_json().values(), other.as_json().values(), strict=True)
        return sum(
            len(ours.items() & theirs.items()) if isinstance(ours, dict) else ours == theirs
            for ours, theirs in pairs
        )

    def differences(self, previous: Ingredients) -> list[str]:
        """Says what has changed: own settings first, and of these the types."""
        changed = [
            f"{name}: {old or 'absent'} -> {new or 'absent'}"
            for name, new, old in _changes(self.settings, previous.settings)
        ]
        changed += [f"the {split} files differ" for split, _, _ in _changes(self.data, previous.data)]
        changed += [
            f"{name} {old or 'absent'} -> {new or 'absent'}"
            for name, new, old in _changes(self.libraries, previous.libraries)
        ]
        if self.source != previous.source:
            changed.append("the stage's source code differs")
        upstream = [name.partition(" ") for name, _, _ in _changes(self.upstream, previous.upstream)]
        by_stage: dict[str, list[str]] = {}
        for stage, _, part in upstream:
            by_stage.setdefault(stage, []).append(part)
        return changed + [f"{stage} differs ({', '.join(parts)})" for stage, parts in by_stage.items()]


def _only(values: Mapping[str, str], names: Collection[str] | None) -> Mapping[str, str]:
    return values if names is None else {name: value for name, value in values.items() if name in names}


def _changes(new: Mapping[str, str], old: Mapping[str, str]) -> list[tuple[str, str | None, str | None]]:
    """What differs; another type comes first, as other keys follow from it."""
    names = sorted(new.keys() | old.keys(), key=lambda name: (name.rpartition(".")[2] != "type", name))
    return [(name, new.get(name), old.get(name)) for name in names if new.get(name) != old.get(name)]


@functools.cache
def _adapter() -> TypeAdapter[Ingredients]:
    return TypeAdapter(Ingredients)
