"""Whether the paths of a configuration lead to files, and why not."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any

from components import files
from components.ingest.config import IngestConfig
from components.patterns import why_unmatched
from pipeline.config.problems import KeyPath, Problem, did_you_mean


def missing_files(ingest: IngestConfig) -> Iterator[Problem]:
    """Yields the local paths and globs that lead to no file; remote ones (`gs://...`) are left to Beam."""
    for path, pattern in file_patterns(("ingest", "files"), ingest.files):
        file = os.path.expanduser(pattern)
        if not pattern or "://" in pattern or os.path.isfile(file):
            continue
        if os.path.isdir(file):
            yield Problem(
                path, f"'{pattern}' is a directory; expected files, such as '{pattern.rstrip('/')}/*'"
            )
        elif glob.has_magic(pattern):
            if not files.find(pattern):
                yield Problem(path, _no_match(pattern))
        else:
            yield Problem(path, no_file(file))


def file_patterns(path: KeyPath, source: Any) -> Iterator[tuple[KeyPath, str]]:
    """Yields the paths and globs in a value of ingest.files, or in a part of it, with their keys."""
    if isinstance(source, str):
        yield path, source
        return
    for key, inner in source.items() if isinstance(source, dict) else enumerate(source):
        yield from file_patterns((*path, key), inner)


def no_file(path: str) -> str:
    """Says why a local path leads to no file, as far as the disk tells."""
    if os.path.islink(path) and not os.path.exists(path):
        return (
            f"'{path}' is a link to '{os.readlink(path)}', which leads to no file; mend the link, or name "
            "the file itself"
        )
    try:
        os.stat(path)
    except PermissionError:
        return f"'{path}' is in a folder that may not be searched; check the permissions of those above it"
    except OSError:
        others = glob.glob(os.path.join(glob.escape(os.path.dirname(path)), "*"))
        return f"there is no file '{path}' in {os.getcwd()}{did_you_mean(path, others)}"
    return f"'{path}' is a pipe, a socket or a device; expected a file, which can be read twice"


def _no_match(pattern: str) -> str:
    """Says why a glob matches no file."""
    links = [path for path in glob.iglob(pattern, recursive=True) if os.path.islink(path)]
    broken = next((path for path in links if not os.path.exists(path)), None)
    why = f"; {no_file(broken)}" if broken else why_unmatched(pattern)
    return f"'{pattern}' matches no file in {os.getcwd()}{why}"
