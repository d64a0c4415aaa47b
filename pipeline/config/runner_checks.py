"""Whether workers on other machines can see what a configuration names."""

from __future__ import annotations

from collections.abc import Iterator

from components.ingest.config import IngestConfig
from pipeline.config.paths import file_patterns
from pipeline.config.problems import Problem
from pipeline.config.runners import DataflowRunner, PortableRunner, Runner


def sees_local_files(runner: Runner) -> bool:
    """Whether every worker sees the files of this machine."""
    return not isinstance(runner, PortableRunner | DataflowRunner) or runner.shared_files


def is_remote(path: str) -> bool:
    """Whether a path is an address that other machines can reach."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme not in ("file", "memory")


def check_root(runner: Runner, root: str) -> Iterator[Problem]:
    """Yields a root that workers elsewhere do not see."""
    if not sees_local_files(runner) and not is_remote(root):
        yield Problem(("root",), unseen(runner, root, "s3://bucket/runs"))


def check_data(runner: Runner, ingest: IngestConfig) -> Iterator[Problem]:
    """Yields files that workers elsewhere do not see."""
    if not sees_local_files(runner):
        for path, pattern in file_patterns(("ingest", "files"), ingest.files):
            if pattern and not is_remote(pattern):
                yield Problem(path, unseen(runner, pattern, "s3://bucket/data/train.tsv"))


def unseen(runner: Runner, path: str, example: str) -> str:
    """Says of a local path that workers elsewhere do not see it.

    Args:
        runner: of the workers.
        path: as the user wrote it.
        example: of an address that they do see.
    """
    return (
        f"received '{path}', which is on this machine, while the workers of runner.type {runner.type} may be "
        f"on others; give an address such as {example}, or set runner.shared_files to true if all of them "
        "see it under this path"
    )
