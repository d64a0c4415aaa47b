"""Which version of this code runs."""

from __future__ import annotations

import contextlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def code_version() -> dict[str, str]:
    """Returns tags for the version of this code: the package's, and the commit if it runs from a checkout."""
    tags = {}
    with contextlib.suppress(PackageNotFoundError):
        tags["rnnpipe.version"] = version("rnnpipe")
    # An installed copy may lie in an environment inside somebody else's checkout.
    if _git("ls-files", "--error-unmatch", Path(__file__).name):
        commit = _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
        tags["mlflow.source.git.commit"] = commit.removesuffix("-dirty")
        tags["git.dirty"] = str(commit.endswith("-dirty")).lower()
    return tags


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
