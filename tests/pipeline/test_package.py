"""What travels to workers: rnnpipe and the user's modules, as source distributions."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import own_modules
import pytest
import tiny
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions
from apache_beam.runners.portability.stager import Stager
from made_data import labelled, write_table

from components.errors import UserError
from components.plugin_sources import plugin_sources
from pipeline.config import load_config
from pipeline.engines import package
from pipeline.engines.environment import Environment
from pipeline.engines.package import build_packages, staging_options
from pipeline.engines.sources import HOME, own_sources
from pipeline.engines.user_modules import installed_modules

ENCODER = "model.encoder={type: my_encoders:MGUEncoder, units: 8, bidirectional: true}"
METRIC = "evaluate={metrics: [accuracy, 'my_metrics:sure_mistakes'], bless: always}"
NEITHER = {"KERAS_BACKEND", "PYTHONPATH"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    own_modules.forget(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(folder, *overrides, config=None):
    """Builds the packages of a configuration in a folder of their own."""
    target = folder / f"built-{len(list(folder.glob('built-*')))}"
    target.mkdir()
    return build_packages(load_config(config or tiny.make(folder), overrides), target)


def contents(sdist):
    """The files of a source distribution by their names, without its own folder."""
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
        assert {member.name.partition("/")[0] for member in members} == {sdist.name.removesuffix(".tar.gz")}
        return {member.name.partition("/")[2]: archive.extractfile(member).read() for member in members}


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in NEITHER}
    # Nothing may be fetched, and no tool of this environment may be needed to build.
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def python(site, code, cwd):
    """Runs code with what is installed in a folder, and not with this checkout; returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout, as setuptools makes it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("layers", "components", "pipeline"):
        shutil.copytree(HOME / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(HOME / name, source)
    target = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(source))
    (built,) = target.iterdir()
    return built


def test_it_holds_what_a_wheel_holds(folder, wheel):
    (built,) = build(folder)
    files = contents(built)
    with zipfile.ZipFile(wheel) as archive:
        installed = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.removeprefix("src/"): data for name, data in files.items() if "src/" in name} == installed
    templates = {f"pipeline/report/templates/{name}.html" for name in ("card", "card/verdict")}
    assert {"pipeline/schema.json", "layers/py.typed"} | templates <= set(installed)
    assert b"rnnpipe = pipeline.cli:main" in files["entry_points.txt"]
    metadata = HeaderParser().parsestr(files["PKG-INFO"].decode())
    assert (metadata["Name"], metadata["Requires-Python"]) == ("rnnpipe", ">=3.10,<3.14")
    assert {"s3", "gcs", "gpu", "test"} <= set(metadata.get_all("Provides-Extra"))


def test_it_pins_what_is_installed_here(folder):
    (built,) = build(folder)
    required = HeaderParser().parsestr(contents(built)["PKG-INFO"].decode()).get_all("Requires-Dist")
    assert any(line.startswith("keras<") for line in required)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    end = f' ; python_version == "{version}"'
    pins = dict(line.removesuffix(end).split("==") for line in required if line.endswith(end))
    assert {"tensorflow", "keras", "apache-beam", "numpy", "protobuf", "universal-pathlib"} <= pins.keys()
    assert not {"pytest", "s3fs", "rnnpipe", "setuptools"} & pins.keys()
    assert pins == {name: importlib.metadata.version(name) for name in pins}
    (remote,) = build(folder, "root=s3://bucket/runs")
    assert f"s3fs=={importlib.metadata.version('s3fs')}{end}" in contents(remote)["PKG-INFO"].decode()


def test_its_bytes_are_always_the_same(folder, monkeypatch):
    (first,) = build(folder)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    old = os.umask(0o077)
    try:
        (second,) = build(folder)
    finally:
        os.umask(old)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert {(entry.mtime, entry.uid, entry.uname) for entry in archive} == {(0, 0, "")}


def test_an_installed_wheel_builds_the_same_bytes(folder, wheel):
    (ours,) = build(folder)
    site = folder / "site"
    pip("install", "--no-deps", "--target", str(site), str(wheel))
    (site / "setup.py").write_text("open('ran', 'w')\n", encoding="utf-8")  # some package's
    said = python(
        site,
        "from pathlib import Path\n"
        "from pipeline.config import load_config\n"
        "from pipeline.engines.environment import Environment\n"
        "from pipeline.engines.package import build_packages, __file__\n"
        "(built,) = build_packages(load_config(Path('pipeline.yaml')), Path('.'))\n"
        "print(__file__, built, Environment.here().source, sep='\\n')\n",
        folder,
    )
    assert said == [str(site / "pipeline" / "engines" / "package.py"), ours.name, Environment.here().source]
    assert (folder / ours.name).read_bytes() == ours.read_bytes()
    assert not (site / "ran").exists()


def test_an_installed_wheel_writes_a_configuration_in_an_empty_folder(folder, wheel):
    site, empty = folder / "site", folder / "empty"
    empty.mkdir()
    pip("install", "--no-deps", "--target", str(site), str(wheel))
    write_table(empty / "reviews.csv", labelled(), ("what", "which"))
    call = (
        "import sys\nfrom pipeline import cli\nprint(cli.__file__)\nsys.argv = ['rnnpipe', *{}]\ncli.main()"
    )
    said = python(site, call.format(["init", "reviews.csv"]), empty)
    assert said[0] == str(site / "pipeline" / "cli.py")
    assert sorted(os.listdir(empty)) == ["pipeline.schema.json", "pipeline.yaml", "reviews.csv"]
    assert (
        (empty / "pipeline.yaml")
        .read_text("utf-8")
        .startswith("# yaml-language-server: $schema=pipeline.schema")
    )
    assert "train" in "\n".join(python(site, call.format(["plan"]), empty))


def test_what_is_installed_from_it_is_the_same_rnnpipe(folder):
    (built,) = build(folder)
    site = folder / "site"
    # As the workers' start program has pip do it; without build isolation, and without setuptools.
    pip(
        "install", "--no-deps", "--no-build-isolation", "--force-reinstall", "--target", str(site), str(built)
    )
    assert (site / "bin" / "rnnpipe").is_file()
    said = python(
        site,
        "import importlib.metadata, json, pipeline\n"
        "from pipeline.engines.environment import Environment\n"
        "from pipeline.engines.sources import own_sources\n"
        "print(pipeline.__file__, Environment.here().source, importlib.metadata.version('rnnpipe'))\n"
        "print(json.dumps(sorted(own_sources())))\n",
        folder,
    )
    here = Environment.here()
    version = built.name.removeprefix("rnnpipe-").removesuffix(".tar.gz")
    assert said[0] == f"{site / 'pipeline' / '__init__.py'} {here.source} {version}"
    assert json.loads(said[1]) == list(own_sources())


def test_a_copy_that_is_not_installed_is_refused(folder, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(package, "HOME", folder)  # no setup.py is there
    monkeypatch.setattr(package, "distribution", missing)
    with pytest.raises(UserError, match=r"is not installed, .* pip install"):
        build(folder)


def test_beam_takes_them_in_their_order(folder):
    own_modules.write(folder)
    built = build(folder, ENCODER)
    options = PipelineOptions(staging_options(built))
    assert options.view_as(SetupOptions).extra_packages == [str(path) for path in built]
    resources = Stager.create_job_resources(options, str(folder), log_submission_env_dependencies=False)
    staged = {name: source for source, name, _ in Stager.extract_staging_tuple_iter(resources)}
    assert Path(staged["extra_packages.txt"]).read_text().split() == [path.name for path in built]


def test_the_users_modules_travel_with_all_that_they_import(folder):
    own_modules.write(folder)
    nested = folder / "my_parts" / "deep"  # without __init__.py
    nested.mkdir(parents=True)
    (nested / "gates.py").write_text("GATES = 1\n", encoding="utf-8")
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "my_package" / "helper.py").write_text("def help(): pass\n", encoding="utf-8")
    with (folder / "my_layers.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef later():\n    from my_package import helper\n    import my_parts.deep.gates\n")
    (folder / "my_notes.py").write_text("unused = True\n", encoding="utf-8")
    first, second = build(folder, ENCODER, METRIC)
    files = contents(second)
    assert first.name.startswith("rnnpipe-")
    assert {name.removeprefix("src/") for name in files if name.startswith("src/")} == {
        "my_encoders.py",
        "my_layers.py",
        "my_metrics.py",
        "my_package/__init__.py",
        "my_package/helper.py",
        "my_parts/deep/gates.py",
    }
    assert files["src/my_encoders.py"].decode() == own_modules.ENCODERS
    again = build(folder, ENCODER, METRIC)
    assert [path.read_bytes() for path in again] == [first.read_bytes(), second.read_bytes()]
    site = folder / "site"
    # With build isolation, as Beam's experiment pip_use_build_isolation has it; there is nothing to isolate.
    pip("install", "--no-deps", "--target", str(site), str(first), str(second))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    said = python(
        site,
        "import my_encoders, my_package.helper, my_parts.deep.gates\n"
        "print(my_encoders.__file__, my_encoders.MGUEncoder.__name__, my_parts.deep.gates.GATES)",
        elsewhere,
    )
    assert said == [f"{site / 'my_encoders.py'} MGUEncoder 1"]


def test_a_second_configuration_takes_the_place_of_the_first_one_on_a_worker(folder):
    own_modules.write(folder)
    _, encoders = build(folder, ENCODER)
    _, metrics = build(folder, METRIC)
    assert encoders.name == metrics.name  # so pip replaces the one by the other


def refusal(folder, name, text="", reference=ENCODER):
    """Builds with a module of that name, which my_layers imports; returns why that is refused."""
    own_modules.write(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    module = name.partition(".")[0]
    with (folder / "my_layers.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef later():\n    import {module}\n")
    with pytest.raises(UserError) as refused:
        build(folder, reference)
    return str(refused.value)


def test_a_compiled_module_is_refused(folder):
    said = refusal(folder, "my_fast.abi3.so")
    assert said.startswith("'my_encoders:MGUEncoder' cannot travel to workers: ")
    assert f"{folder / 'my_fast.abi3.so'} is compiled" in said
    assert "give its source, or install it" in said


def test_a_compiled_module_is_part_of_the_keys(folder):
    own_modules.write(folder)
    config = load_config(tiny.make(folder), [ENCODER])
    with (folder / "my_layers.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef later():\n    import my_fast\n")
    fingerprints = []
    for content in (b"one", b"two"):
        (folder / "my_fast.abi3.so").write_bytes(content)
        fingerprints.append(plugin_sources(config.model))
    assert fingerprints[0] != fingerprints[1]


def test_a_module_that_python_would_not_find_first_on_a_worker_is_refused(folder):
    said = refusal(folder, "cProfile.py")
    assert f"{folder / 'cProfile.py'} is named like Python's own module cProfile" in said
    (folder / "cProfile.py").unlink()
    said = refusal(folder, "absl.py")
    assert f"{folder / 'absl.py'} is named like " in said
    assert said.endswith("rename it.")


def test_an_installed_module_does_not_travel(folder, monkeypatch):
    site = folder / "site-packages"
    site.mkdir()
    own_modules.write(site)
    monkeypatch.syspath_prepend(site)
    config = tiny.make(folder)
    assert len(build(folder, ENCODER, config=config)) == 1
    assert installed_modules(load_config(config, [ENCODER, METRIC])) == [
        "my_encoders:MGUEncoder",
        "my_metrics:sure_mistakes",
    ]
