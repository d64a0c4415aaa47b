"""Writes the configuration, after the project's own checks have taken it."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from components.errors import UserError
from components.ingest.config import IngestConfig
from components.text import printable
from pipeline.config import ConfigError, config_schema, load_config
from pipeline.config.name_checks import check_name
from pipeline.init.draft import OPTIONS, Draft, Wishes, make_draft
from pipeline.init.report import print_report
from pipeline.init.write import SCHEMA_NAME, Choices, config_text
from pipeline.serving.wording import as_options

_ADDRESS = re.compile(r"[A-Za-z0-9+]{2,}:/")  # as a Path has it
_TITLE = '"title": "pipeline.yaml"'  # of the schema of any version


def init(patterns: Sequence[str], wishes: Wishes, output: Path, force: bool, console: Console) -> None:
    """Describes data by a configuration that runs as it is.

    Args:
        patterns: paths and globs of the files.
        wishes: what is decided already.
        output: the file to write, where `~` is home; `pipeline.schema.json` for editors is written beside
            it.
        force: whether a file that is there is overwritten.
        console: where to print what was seen and chosen.

    Raises:
        UserError: the files are no data for a pipeline, or the output is there or cannot be written.
    """
    output = output.expanduser()
    schema = output.parent / SCHEMA_NAME
    _check_output(output, schema, force)
    _check_name(wishes.name)
    command = f"rnnpipe init {' '.join(shlex.quote(printable(pattern)) for pattern in patterns)}"
    with tempfile.TemporaryDirectory(prefix="rnnpipe-") as folder:
        draft = _draft(patterns, wishes, Path(folder))
        choices = Choices(draft)
        text = config_text(draft, choices, command)
        checked = Path(folder) / "checked.yaml"
        checked.write_text(text, encoding="utf-8")
        try:
            load_config(checked)
        except ConfigError as error:
            raise UserError(
                f"init: this is an error of rnnpipe, not yours: it made a configuration that it does not "
                f"take itself. Please report it with the lines below; nothing was written.\n{error}\n\n{text}"
            ) from error
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
        schema.write_text(json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"init: --output {output} cannot be written: {error.strerror or error}. Check the path and its "
            f"permissions, or name another file with --output."
        ) from error
    print_report(draft, choices, console)
    named = "" if str(output) == "pipeline.yaml" else f" {shlex.quote(str(output))}"
    console.print(
        f"\nwritten      {output} (for editors also {schema})\n"
        f"look at it   rnnpipe plan{named}\n"
        f"run it       rnnpipe run{named}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _draft(patterns: Sequence[str], wishes: Wishes, folder: Path) -> Draft:
    """Makes the draft; errors of the readers, which speak of a configuration, speak of options instead."""
    try:
        with as_options(OPTIONS):
            IngestConfig(files="-", delimiter=wishes.delimiter)
            return make_draft(patterns, wishes, folder)
    except UserError as error:
        raise UserError(f"init: {str(error).removeprefix('init: ')}") from error


def _check_output(output: Path, schema: Path, force: bool) -> None:
    if _ADDRESS.match(str(output)):
        raise UserError(
            f"init: received an address as --output, {output}, expected a file on a disk of this machine, "
            f"from where the other commands read it."
        )
    if output.is_dir():
        raise UserError(
            f"init: --output {output} is a folder, expected a file such as {output}/pipeline.yaml"
        )
    if output.exists() and not force:
        raise UserError(
            f"init: there is {output} already, expected a new file. Name another with --output, or overwrite "
            f"it with --force."
        )
    if schema.exists() and not force and _TITLE not in schema.read_text(errors="replace"):
        raise UserError(
            f"init: there is {schema} already, which is not the schema of rnnpipe. Rename it, write to "
            f"another folder with --output, or overwrite it with --force."
        )


def _check_name(name: str | None) -> None:
    from pydantic import TypeAdapter, ValidationError

    from pipeline.config.models import PipelineConfig

    if name is None:
        return
    field = PipelineConfig.model_fields["name"]
    try:
        TypeAdapter(field.rebuild_annotation()).validate_python(name)
    except ValidationError:
        raise UserError(
            f"init: --name received {name!r}, expected letters, digits, '_', '.' and '-', a letter or digit "
            f"first"
        ) from None
    for problem in check_name(name, "runs", "serving"):
        raise UserError(f"init: --name {problem.message}")
