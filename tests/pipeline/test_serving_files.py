"""The files beside the models, read by TensorFlow Serving's own messages where Python has them."""

import pytest
from google.protobuf import text_format
from ruamel.yaml import YAML
from tensorflow_serving.config import model_server_config_pb2

from components import files
from pipeline.config.name_checks import SERVING_FILES
from pipeline.serving import serving_files

FILES = ["models.config", "batching.config", "monitoring.config", "docker-compose.yaml"]


def write_serving_files(directory):
    return serving_files.write_serving_files(files.resolve(directory))


@pytest.fixture
def serving(tmp_path):
    for name in ("dates", "languages", "not yet"):
        (tmp_path / name / "1").mkdir(parents=True)
    for name in ("dates", "languages"):
        (tmp_path / name / "1" / "saved_model.pb").touch()
    return tmp_path


def test_every_model_is_served(serving):
    assert write_serving_files(serving) == FILES
    read = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((serving / "models.config").read_text(), read)
    assert [(model.name, model.base_path) for model in read.model_config_list.config] == [
        ("dates", "/models/dates"),
        ("languages", "/models/languages"),
    ]
    assert not [path for path in serving.iterdir() if path.name.startswith(".")]


def test_no_model_can_be_called_like_one_of_them(serving):
    assert tuple(write_serving_files(serving)) == SERVING_FILES


def test_the_composition_names_the_files_that_are_there(serving):
    write_serving_files(serving)
    service = YAML(typ="safe").load(serving / "docker-compose.yaml")["services"]["tensorflow-serving"]
    assert service["volumes"] == [".:/models:ro"]
    named = [word.partition("=")[2] for word in service["command"] if "=/models/" in word]
    assert len(named) == 3
    assert all((serving / path.removeprefix("/models/")).is_file() for path in named)


def test_changes_of_others_are_kept(serving):
    write_serving_files(serving)
    lines = (serving / "batching.config").read_text().splitlines(keepends=True)
    (serving / "batching.config").write_text("".join(lines[1:]))
    (serving / "models.config").write_text((serving / "models.config").read_text().splitlines()[0] + "\n")
    assert write_serving_files(serving) == ["models.config"]
    assert "dates" in (serving / "models.config").read_text()


def test_what_is_up_to_date_is_not_written_again(serving):
    write_serving_files(serving)
    assert write_serving_files(serving) == []


def test_models_that_are_pushed_at_once_are_both_listed(serving, monkeypatch):
    """Between one list of the models and its file another model is pushed, and its list written."""
    write, pushed = files.write, []

    def late(path, data):
        if not pushed:
            pushed.append(path)
            (serving / "stories" / "1").mkdir(parents=True)
            (serving / "stories" / "1" / "saved_model.pb").touch()
            write_serving_files(serving)
        write(path, data)

    monkeypatch.setattr(files, "write", late)
    assert write_serving_files(serving) == ["models.config"]
    assert '"/models/stories"' in (serving / "models.config").read_text()


def test_they_are_written_where_the_models_are():
    place = files.resolve("memory://somewhere/serving")
    files.write(place / "dates" / "1" / "saved_model.pb", b"graph")
    assert write_serving_files(place) == FILES
    assert b'"/models/dates"' in files.read(place / "models.config")
    files.write(place / "models.config", b"mine")
    assert "models.config" not in write_serving_files(place)
