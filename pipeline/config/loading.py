"""From a YAML file to a checked configuration, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.config.checks import misfits
from pipeline.config.defaults import fill_defaults
from pipeline.config.document import Document, Entry
from pipeline.config.explain import explain
from pipeline.config.models import PipelineConfig, yaml_text
from pipeline.config.paths import missing_files, no_file
from pipeline.config.problems import ConfigError, Problem, did_you_mean, dotted
from pipeline.config.settings import with_first_values
from pipeline.config.sweep_checks import sweep_problems, under_swept
from pipeline.config.vector_checks import missing_vectors


def load_config(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Reads a configuration and checks all of it.

    Args:
        path: A YAML 1.2 file. The paths in it are relative to the working directory; `~` is the home.
        overrides: Assignments such as `train.epochs=5`, made before anything is checked.

    Returns:
        The configuration, with every default filled in.

    Raises:
        ConfigError: All problems, each with the line of the file or the override it comes from.
    """
    document = Document(_text(path.expanduser()), str(path))
    for assignment in overrides:
        document.override(assignment)
    return _checked(document)


def _checked(document: Document, look_for_files: bool = True) -> PipelineConfig:
    config, problems = _validated(document.data, look_for_files)
    entries = document.problems + [
        Entry(document.origin(where), f"{dotted(where)}: {message}")
        for where, message in problems
        if where not in document.refused
    ]
    if config is None or entries:
        entries.sort(key=lambda entry: entry.origin.order)
        raise ConfigError("\n".join(map(str, entries)))
    return config


def config_of(
    data: dict[str, Any], overrides: Sequence[str] = (), name: str = "the configuration"
) -> PipelineConfig:
    """Checks plain data, such as `resolved` gives, without looking for files.

    Args:
        data: of a configuration.
        overrides: assignments, as for `load_config`.
        name: what to call it in messages.

    Raises:
        ConfigError: all problems.
    """
    document = Document(yaml_text(data), name)
    for assignment in overrides:
        document.override(assignment)
    return _checked(document, look_for_files=False)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if path.is_symlink():
            raise ConfigError(f"{path}: {no_file(str(path))}") from None
        others = [str(other) for other in sorted(path.parent.glob("*.y*ml"))]
        hint = (
            did_you_mean(str(path), others)
            or "; make one from your data: rnnpipe init FILE, or copy one in examples/"
        )
        raise ConfigError(f"{path}: there is no such file in {Path.cwd()}{hint}") from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path}: received a directory, expected a file such as {path / 'pipeline.yaml'}"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; check the path and its permissions"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None


def _validated(data: dict[str, Any], look_for_files: bool) -> tuple[PipelineConfig | None, list[Problem]]:
    config: PipelineConfig | None
    problems: list[Problem] = []
    try:
        config = PipelineConfig.model_validate(data)
        sections = dict(config)
    except ValidationError as error:
        config = None
        problems = explain(error, with_first_values(data))
        sections = _sound_sections(data, {problem.path[0] for problem in problems})
        if "task" in sections:
            problems += misfits(sections["task"], sections)
        problems = [problem for problem in problems if not under_swept(problem.path, data)]
    if "sweep" in data:
        problems += sweep_problems(data, config)
    if look_for_files:
        missing: list[Problem] = []
        if "ingest" in sections:
            missing += missing_files(sections["ingest"])
        if "model" in sections:
            missing += missing_vectors(sections["model"])
        reported = {problem.path for problem in problems}
        problems += [problem for problem in missing if problem.path not in reported]
    return config, problems


def _sound_sections(data: dict[str, Any], broken: set[str | int]) -> dict[str, Any]:
    """Returns the values that are valid by themselves, as the configuration would hold them."""
    fields, filled = PipelineConfig.model_fields, fill_defaults(data)
    defaults = {
        name: field.get_default(call_default_factory=True, validated_data={})
        for name, field in fields.items()
        if name not in filled and not field.is_required()
    }
    return defaults | {
        name: TypeAdapter(fields[name].rebuild_annotation()).validate_python(value)
        for name, value in filled.items()
        if name in fields and name not in broken
    }
