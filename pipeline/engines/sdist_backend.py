"""Makes the wheel of a source distribution that package.py has built, and travels within it.

A build backend (PEP 517) that needs nothing but Python: workers may have no setuptools, and no network.
"""

import base64
import hashlib
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

_WHEEL = b"Wheel-Version: 1.0\nGenerator: rnnpipe\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """Writes the wheel; returns its name. The working directory is that of the unpacked distribution."""
    metadata = Path("PKG-INFO").read_bytes()
    fields = HeaderParser().parsestr(metadata.decode())
    name = f"{fields['Name'].replace('-', '_')}-{fields['Version']}"
    source = Path("src")
    files = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in sorted(source.rglob("*"))
        if path.is_file()
    }
    info = {path.name: path.read_bytes() for path in Path().glob("entry_points.txt")}
    info |= {"METADATA": metadata, "WHEEL": _WHEEL}
    files |= {f"{name}.dist-info/{part}": content for part, content in info.items()}
    record = f"{name}.dist-info/RECORD"
    rows = [f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items()]
    files[record] = "".join([*rows, f"{record},,\n"]).encode()
    wheel = f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory, wheel), "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return wheel


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
