"""Beam's options: what an engine sets, what `runner.options` says, and the flags of the command line."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions

from components.errors import UserError
from pipeline.config.runners import OURS

Options = Mapping[str, Any]


class _Parser(pipeline_options._BeamArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"runner.options, and flags after --: {message}")


def as_flags(options: Options) -> list[str]:
    """Returns options as Beam's flags.

    Args:
        options: by name: true gives a flag alone, false the one that turns it off if Beam has one, a list
            one flag for every item.
    """
    return list(PipelineOptions.from_dictionary(dict(options))._flags)


def beam_options(ours: Options, given: Options, flags: Sequence[str] = ()) -> list[str]:
    """Puts options together, the last word first to last.

    Args:
        ours: what suits TensorFlow; all of it can be overridden, and lists are added to.
        given: `runner.options`.
        flags: of the command line, such as `--job_endpoint=localhost:8073`.

    Raises:
        UserError: if a value is not what Beam expects, or a flag is not the user's to set.
    """
    for flag in flags:
        name = flag.lstrip("-").partition("=")[0]
        if name in OURS:
            raise UserError(f"runner: received the option {name}, which cannot be set: {OURS[name]}")
    together = [*as_flags(ours), *as_flags(given), *flags]
    parser().parse_known_args(together)
    return together


def unknown(flags: Sequence[str]) -> list[str]:
    """Returns the flags that no part of Beam that is installed knows."""
    return [flag for flag in parser().parse_known_args(list(flags))[1] if flag.startswith("-")]


def refuse_unknown(flags: Sequence[str], engine: str) -> None:
    """Refuses flags that Beam does not know.

    Args:
        flags: all of them.
        engine: what people call it.

    Raises:
        UserError: naming the first one.
    """
    for flag in unknown(flags):
        name = flag.lstrip("-").partition("=")[0]
        names = [option.lstrip("-") for action in parser()._actions for option in action.option_strings]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"runner: received the option {name}, which neither Beam nor {engine} knows{hint}")


def parser() -> _Parser:
    """Returns the parser of all options that Beam knows."""
    made = _Parser(allow_abbrev=False, add_help=False)
    for kind in _kinds(PipelineOptions):
        # As Beam does it: some options are declared twice.
        with contextlib.suppress(pipeline_options.argparse.ArgumentError):
            kind._add_argparse_args(made)
    return made


def _kinds(kind: type) -> list[Any]:
    kinds: list[Any] = []
    inner: Any
    for inner in kind.__subclasses__():
        kinds += [inner, *_kinds(inner)]
    return kinds
