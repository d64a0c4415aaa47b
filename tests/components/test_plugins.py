"""What a configuration takes from the user's modules: found, refused in words, and part of the keys."""

import sys

import pytest

from components.errors import UserError
from components.models.config import ModelConfig
from components.plugin_sources import plugin_sources
from components.plugins import PluginError, load, references

CLASS = """\
from components.models.encoders import RecurrentEncoderConfig

class Encoder(RecurrentEncoderConfig):
    '''Its layer is in another module.'''

    def layer(self):
        from {helper} import make

        return make(self.units)
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("own", "own_pkg", "own_helper")]:
        del sys.modules[name]


def test_a_module_is_found_in_the_working_directory(tmp_path):
    (tmp_path / "own.py").write_text("thing = 7\n")
    assert load("own:thing") == 7


@pytest.mark.parametrize(
    ("reference", "source", "message"),
    [
        (
            "onw:Encoder",
            "",
            "but there is no module onw in {here} or on Python's path; did you mean 'own'?",
        ),
        (
            "something_else.deep:Encoder",
            "",
            "but there is no module something_else in {here} or on Python's path; expected"
            " something_else/deep.py there, or a package that is installed in this environment",
        ),
        (
            "own:Encodr",
            "Encoder = 1",
            "but own ({here}/own.py) has no Encodr; did you mean 'own:Encoder'?",
        ),
        ("own:zzz", "Encoder = 1", "but own ({here}/own.py) has no zzz"),
        (
            "own:Encoder",
            "\nimport not_there_at_all",
            "but importing own failed in {here}/own.py, line 2: ModuleNotFoundError: No module named"
            " 'not_there_at_all'",
        ),
        (
            "own:Encoder",
            "x = 1\ny = x / 0",
            "but importing own failed in {here}/own.py, line 2: ZeroDivisionError: division by zero",
        ),
        (
            "own:Encoder",
            "x = 1\ndef f(:",
            "but importing own failed in {here}/own.py, line 2: SyntaxError: invalid syntax",
        ),
        ("own:", "", "expected a module and a name in it, such as my_module:MyClass"),
        ("own/encoder.py:Encoder", "", "expected a module and a name in it, such as my_module:MyClass"),
    ],
)
def test_what_leads_nowhere(tmp_path, reference, source, message):
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(PluginError) as caught:
        load(reference)
    assert str(caught.value) == message.format(here=tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def Encoder(): pass",
            "which is of the type function, expected a class derived from"
            " components.models.encoders.EncoderConfig",
        ),
        (
            "class Encoder: pass",
            "which does not derive from components.models.encoders.EncoderConfig (see {here}/own.py)",
        ),
        (
            "from components.models.encoders import EncoderConfig\nclass Encoder(EncoderConfig): pass",
            "which lacks the method encoder; define it in {here}/own.py",
        ),
        (
            "from components.models.encoders import RecurrentEncoderConfig as Base\n"
            "class Encoder(Base):\n    size: 'NotThere' = 1\n    def layer(self): pass",
            "whose fields cannot be read (see {here}/own.py): name 'NotThere' is not defined",
        ),
    ],
)
def test_what_is_no_encoder(tmp_path, source, message):
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(ValueError, match="type received 'own:Encoder', ") as caught:
        ModelConfig.model_validate({"encoder": {"type": "own:Encoder"}})
    assert message.format(here=tmp_path) in str(caught.value)


def test_a_section_comes_back_from_its_own_data_with_its_class(tmp_path):
    (tmp_path / "own.py").write_text(CLASS.format(helper="own_helper"))
    model = ModelConfig.model_validate({"encoder": {"type": "own:Encoder", "units": 3}})
    dumped = model.model_dump(mode="json")
    assert dumped["encoder"] == {
        "type": "own:Encoder",
        "units": 3,
        "num_layers": 1,
        "dropout": 0.0,
        "bidirectional": False,
        "residual": False,
    }
    assert ModelConfig.model_validate(dumped) == model
    assert model.model_dump(exclude_unset=True) == {"encoder": {"type": "own:Encoder", "units": 3}}
    assert type(model.encoder).__module__ == "own"
    assert list(references(model)) == ["own:Encoder"]


def sources(tmp_path, reference="own:Encoder"):
    model = ModelConfig.model_validate({"encoder": {"type": reference}})
    found = plugin_sources(model, {"again": [model]})
    assert list(found) == [reference]
    return found[reference]


def test_a_module_counts_with_what_it_imports_of_the_users(tmp_path):
    (tmp_path / "own.py").write_text(CLASS.format(helper="own_helper"))
    helper, unrelated = tmp_path / "own_helper.py", tmp_path / "own_unrelated.py"
    helper.write_text("import numpy\nmake = None\n")
    unrelated.write_text("x = 1\n")
    before = sources(tmp_path)
    assert len(before) == 16
    unrelated.write_text("x = 2\n")
    assert sources(tmp_path) == before
    helper.write_text("import numpy\nmake = 1\n")
    changed = sources(tmp_path)
    assert changed != before
    (tmp_path / "own.py").write_text(CLASS.format(helper="own_helper") + "\n")
    assert sources(tmp_path) != changed


def test_a_package_counts_with_its_relative_imports_and_inits(tmp_path):
    package = tmp_path / "own_pkg" / "deep"
    package.mkdir(parents=True)
    files = [tmp_path / "own_pkg" / "__init__.py", package / "__init__.py", package / "helper.py"]
    for file in files:
        file.write_text("make = None\n")
    (package / "encoders.py").write_text(CLASS.format(helper=".helper"))
    seen = {sources(tmp_path, "own_pkg.deep.encoders:Encoder")}
    for file in files:
        file.write_text("make = 1\n")
        seen.add(sources(tmp_path, "own_pkg.deep.encoders:Encoder"))
    assert len(seen) == 1 + len(files)


def test_an_installed_package_counts_alone(tmp_path):
    installed = tmp_path / "site-packages"
    (installed / "own_pkg").mkdir(parents=True)
    sys.path.append(str(installed))
    (installed / "own_pkg" / "__init__.py").write_text(
        CLASS.format(helper="own_helper") + "import own_pkg.a\n"
    )
    for name in ("own_helper.py", "own_pkg/a.py"):
        (installed / name).write_text("make = None\n")
    before = sources(tmp_path, "own_pkg:Encoder")
    (installed / "own_helper.py").write_text("make = 1\n")
    assert sources(tmp_path, "own_pkg:Encoder") == before
    (installed / "own_pkg" / "a.py").write_text("make = 1\n")
    assert sources(tmp_path, "own_pkg:Encoder") != before


def test_built_in_types_have_no_such_sources():
    assert plugin_sources(ModelConfig.model_validate({"encoder": {"type": "gru"}}), None) == {}


def test_a_module_without_a_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(CLASS.format(helper="own_helper"))
    model = ModelConfig.model_validate({"encoder": {"type": "own:Encoder"}})
    monkeypatch.setattr(sys.modules["own"], "__file__", None)
    with pytest.raises(UserError, match=r"the module own has no source file.*expected a file own\.py"):
        plugin_sources(model)
