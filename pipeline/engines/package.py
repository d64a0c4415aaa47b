"""What travels to workers: rnnpipe as it is installed here, and the user's modules, as source distributions.

Beam's start program of workers installs them by pip before the worker begins. They bring their own build
backend, so nothing has to be installed for that, neither here nor there.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path

from components.errors import UserError
from pipeline.config import PipelineConfig
from pipeline.engines import sdist_backend
from pipeline.engines.pins import pins
from pipeline.engines.sources import HOME, own_sources
from pipeline.engines.user_modules import user_modules

_EXTRAS = {"s3": "s3", "gs": "gcs"}  # by the beginning of addresses
_BUILD_SYSTEM = b'[build-system]\nrequires = []\nbuild-backend = "sdist_backend"\nbackend-path = ["."]\n'
_USER_METADATA = "Metadata-Version: 2.1\nName: rnnpipe-user-modules\nVersion: 0\n"


def build_packages(config: PipelineConfig, folder: Path) -> list[Path]:
    """Builds what workers install: the same bytes wherever the same is installed.

    Args:
        config: of the run, which names the user's modules.
        folder: where to.

    Returns:
        Source distributions, in the order in which they are installed.

    Raises:
        UserError: if rnnpipe is not installed here, or a module of the user's cannot travel.
    """
    packages = [_rnnpipe(config, folder)]
    if modules := user_modules(config):
        packages.append(_write(folder, _USER_METADATA, modules))
    return packages


def staging_options(packages: Sequence[Path]) -> list[str]:
    """Returns Beam's flags that have the workers' start program install packages.

    `--requirements_file`, which is installed before them, stays the user's.
    """
    return [f"--extra_package={package}" for package in packages]


def _rnnpipe(config: PipelineConfig, folder: Path) -> Path:
    addresses = config.model_dump_json()
    extras = [extra for scheme, extra in _EXTRAS.items() if f"{scheme}://" in addresses]
    with tempfile.TemporaryDirectory(prefix="rnnpipe-") as scratch:
        found = _from_checkout(Path(scratch)) or _installed()
        metadata = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
        fields = [
            metadata.partition("\n\n")[0].strip(),  # without the description
            *(f"Requires-Dist: {pin}" for pin in pins(found, extras)),
        ]
        entry_points = found.read_text("entry_points.txt") or ""
    return _write(folder, "\n".join([*fields, ""]), own_sources(), entry_points)


def _from_checkout(scratch: Path) -> Distribution | None:
    """The metadata of a checkout, as setup.py has them now, and not when it was installed."""
    if not all((HOME / name).is_file() for name in ("setup.py", "constraints.txt")):
        return None  # a setup.py alone may be anybody's
    command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(scratch)]
    made = subprocess.run(command, cwd=HOME, capture_output=True, check=False)
    return Distribution.at(scratch / "rnnpipe.egg-info") if made.returncode == 0 else None


def _installed() -> Distribution:
    try:
        return distribution("rnnpipe")
    except PackageNotFoundError:
        raise UserError(
            f"runner: workers need rnnpipe as a package, but the copy in {HOME} is not installed, so nobody "
            f"knows what it requires. Install it: pip install -c constraints.txt -e {HOME}"
        ) from None


def _write(folder: Path, metadata: str, sources: Mapping[str, bytes], entry_points: str = "") -> Path:
    """Writes a source distribution, without dates, users and modes."""
    fields = HeaderParser().parsestr(metadata)
    name = f"{fields['Name'].replace('-', '_')}-{fields['Version']}"
    files = {
        "PKG-INFO": metadata.encode(),
        "pyproject.toml": _BUILD_SYSTEM,
        "sdist_backend.py": Path(sdist_backend.__file__).read_bytes(),
        **({"entry_points.txt": entry_points.encode()} if entry_points else {}),
        **{f"src/{path}": content for path, content in sources.items()},
    }
    path = folder / f"{name}.tar.gz"
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed,
        tarfile.open(mode="w", fileobj=packed) as archive,
    ):
        for member, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{member}")
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    return path
