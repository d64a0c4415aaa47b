"""What stages say of configurations, asked once for all trials that agree in what a stage looks at."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from pipeline.config import PipelineConfig, flatten
from pipeline.stages.stage import Stage


class Saying(NamedTuple):
    """What shapes a stage's artifact, apart from what it reads; see Ingredients."""

    settings: dict[str, str]
    libraries: dict[str, str]
    source: str


class Sayings:
    """Remembers the answers of stages by the sections of the configuration that they looked at.

    Trials have the sections in common in which nothing is swept; see `config_with`.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[Stage, str], dict[tuple[str, ...], dict[Any, Any]]] = {}

    def of(self, stage: Stage, config: PipelineConfig) -> Saying:
        """Returns what a stage says of a configuration."""
        return Saying(
            self._ask(stage, "settings", config, lambda seen: _as_json(stage.settings(seen))),
            self._ask(stage, "versions", config, stage.versions),
            self._ask(stage, "source", config, stage.source),
        )

    def _ask(
        self, stage: Stage, what: str, config: PipelineConfig, ask: Callable[[PipelineConfig], Any]
    ) -> Any:
        known = self._answers.setdefault((stage, what), {})
        for names, answers in known.items():
            sections = tuple(_identity(getattr(config, name)) for name in names)
            if sections in answers:
                return answers[sections][0]
        watched = _Watched(config)
        answer = ask(cast(PipelineConfig, watched))
        names = tuple(watched.looked_at)
        looked_at = tuple(getattr(config, name) for name in names)
        # With the sections, so that no other object gets their identity.
        known.setdefault(names, {})[tuple(map(_identity, looked_at))] = answer, looked_at
        return answer


class _Watched:
    """A configuration that notes which of its sections somebody looks at."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self.looked_at: dict[str, None] = {}

    def __getattr__(self, name: str) -> Any:
        self.looked_at[name] = None
        return getattr(self._config, name)


def _identity(section: Any) -> Any:
    return section if isinstance(section, str | int | None) else id(section)


def _as_json(settings: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in flatten(settings).items()}
