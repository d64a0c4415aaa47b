"""The JSON schema and its words, the page of keys and the shipped files follow the models."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from components.models.fields import Activation
from components.strict import Strict
from pipeline.config import config_schema, load_config
from pipeline.config.reference import MARK, PAGE, SCHEMA, page_text, schema_text
from pipeline.config.schema import describe, key_paths, shape

ROOT = Path(__file__).parents[2]
SHIPPED = ["pipeline.yaml", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("examples/*.yaml")))]
REFRESH = "run `python -m pipeline.config.reference`"


def test_the_committed_schema_is_current():
    assert (ROOT / SCHEMA).read_text(encoding="utf-8") == schema_text(), REFRESH


def test_the_page_of_keys_is_current_and_complete():
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page == page_text(page), REFRESH
    tables = page.partition(MARK)[2]
    for path in key_paths(shape()):
        assert f"`{path[-1]}`" in tables or path[-1] == "type"


def test_one_command_writes_both(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "pipeline").mkdir()
    (tmp_path / PAGE).write_text(f"# Title\n\n{MARK}old\n", encoding="utf-8")
    command = [sys.executable, "-m", "pipeline.config.reference"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True)
    assert (tmp_path / SCHEMA).read_text(encoding="utf-8") == schema_text()
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert page.startswith(f"# Title\n\n{MARK}\n### Top level\n")
    assert page == page_text(page)


def test_the_schema_is_strict_and_described():
    schema = config_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    sections = [schema, *schema["$defs"].values()]
    by_metric = schema["$defs"]["Bless"]
    assert "accuracy" in by_metric["propertyNames"]["anyOf"][0]["enum"]
    assert all(section["additionalProperties"] is False for section in sections if section != by_metric)
    assert all(section["description"] for section in sections)
    assert schema["properties"]["seed"]["description"] == "Seed of everything that is drawn at random."
    assert schema["$defs"]["ModelConfig"]["properties"]["encoder"]["discriminator"]["propertyName"] == "type"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_name_the_schema_for_editors(name: str):
    first = (ROOT / name).read_text(encoding="utf-8").splitlines()[0]
    key, _, schema = first.partition("=")
    assert key == "# yaml-language-server: $schema"
    assert ((ROOT / name).parent / schema).resolve() == ROOT / SCHEMA


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_sound(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert load_config(Path(name)).name


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_meet_the_schema(name: str):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(config_schema())
    validator.check_schema(config_schema())
    data = YAML(typ="safe", pure=True).load(ROOT / name)
    validator.validate(data)
    data["train"]["epoch"] = 5
    assert not validator.is_valid(data)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "a number of at least 0 and below 1"),
        ({"type": "integer", "exclusiveMinimum": 0, "maximum": 9}, "a whole number above 0 and of at most 9"),
        ({"type": "array", "items": {"type": "boolean"}}, "a list of true or false"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "a mapping"),
        ({"anyOf": [{"enum": ["a", "b"]}, {"const": "c"}, {"type": "null"}]}, "'a', 'b', 'c' or null"),
    ],
)
def test_shapes_are_told_in_words(node: dict, words: str):
    assert describe(node) == words


def test_keras_knows_every_activation():
    import keras  # slow, and needed only here

    for name in get_args(Activation):
        assert keras.activations.get(name)(keras.ops.ones((2, 4))).shape == (2, 4)


def test_the_schema_is_plain_json():
    assert json.loads(schema_text()) == config_schema()


def _classes(base):
    for derived in base.__subclasses__():
        yield derived
        yield from _classes(derived)


def test_class_variables_name_their_type():
    """Pydantic cannot evaluate a bare `ClassVar` on Python 3.10."""
    bare = [
        f"{cls.__name__}.{name}"
        for cls in _classes(Strict)
        for name, of in cls.__annotations__.items()
        if of == "ClassVar"
    ]
    assert not bare
