"""The image of workers agrees with setup.py and constraints.txt. It is read, not built: that needs docker."""

import re
import runpy

import pytest
import setuptools

from pipeline.engines.sources import HOME, OWN

FOLDER = HOME / "docker" / "worker"
INSTRUCTIONS = [
    line
    for line in (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
COMMENT = "\n".join(
    line for line in (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines() if line.startswith("#")
)
ARGUMENTS = dict(re.findall(r"^ARG (\w+)=(\S+)$", "\n".join(INSTRUCTIONS), re.M))
IGNORED = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def package():
    """What setup.py says."""
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **fields: said.update(fields))
        patch.chdir(HOME)
        runpy.run_path(str(HOME / "setup.py"))
    return said


def minors(text):
    return [int(minor) for minor in re.findall(r"3\.(\d+)", text)]


def test_its_python_is_one_that_the_package_allows(package):
    first, behind = minors(package["python_requires"])
    assert first <= minors(ARGUMENTS["PYTHON"])[0] < behind
    (line,) = re.findall(r"version of Python \((.*?)\)", COMMENT)
    assert minors(line) == [first, behind - 1]
    assert f"rnnpipe-worker:{package['version']}" in COMMENT


def test_its_beam_and_libraries_are_the_tested_ones(package):
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (HOME / "constraints.txt").read_text(), re.M))
    assert pins["apache-beam"] == ARGUMENTS["BEAM"]
    (install,) = [line for line in INSTRUCTIONS if line.startswith("RUN ")]
    assert "--constraint constraints.txt" in install
    assert '".[${EXTRAS}]"' in install
    assert {"s3", "gcs", "gcp"} <= set(ARGUMENTS["EXTRAS"].split(",")) <= package["extras_require"].keys()
    offered = re.findall(r"EXTRAS=([\w,]+)", COMMENT)
    assert set(",".join(offered).split(",")) <= package["extras_require"].keys()


def test_it_copies_all_that_the_package_is_built_from_and_docker_is_given_it():
    copied = {name for line in INSTRUCTIONS if line.startswith("COPY ") for name in line.split()[1:-1]}
    own = {name for name in copied if not name.startswith(("--", "/"))}
    assert own == {"setup.py", "pyproject.toml", "constraints.txt", "LICENSE", *OWN}
    assert {name for name in own if not (HOME / name).exists()} == set()
    assert {line.removeprefix("!") for line in IGNORED if line.startswith("!")} == own


def test_it_starts_as_beam_expects():
    assert INSTRUCTIONS[-1] == 'ENTRYPOINT ["/opt/apache/beam/boot"]'
    assert f"FROM apache/beam_python{'${PYTHON}'}_sdk:{'${BEAM}'} AS beam" in INSTRUCTIONS
    assert "COPY --from=beam /opt/apache/beam /opt/apache/beam" in INSTRUCTIONS
