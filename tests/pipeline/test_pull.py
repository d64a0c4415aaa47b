"""A remote serving directory is mirrored to a disk, version by version."""

import uuid

import pytest
from made_models import FILES, contents, make_export, push
from typer.testing import CliRunner

from components import files
from components.errors import UserError
from pipeline.cli import app
from pipeline.serving.predict import find_model
from pipeline.serving.pull import pull
from pipeline.serving.server import serving
from pipeline.serving.versions import remove, versions


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def remote():
    return files.resolve(f"memory://{uuid.uuid4().hex}/serving")


@pytest.fixture
def models(tmp_path):
    def model(name):
        return make_export(tmp_path / "runs", name, {**FILES, "saved_model.pb": name.encode()}).saved_model()

    return model


@pytest.fixture
def here(tmp_path):
    return tmp_path / "mirror"


def mirrored(here, name):
    return {number: contents(place) for number, place in versions(files.resolve(here / name)).items()}


def test_all_models_are_mirrored_and_again_only_what_is_new(remote, models, here):
    for name in ("a", "b"):
        push(models(name), remote / "dates", name)
    push(models("c"), remote / "languages", "c")
    assert list(pull(str(remote), str(here))) == [
        "dates/2  pulled, 2.3 MB",
        "dates/1  pulled, 2.3 MB",
        "languages/1  pulled, 2.3 MB",
    ]
    assert mirrored(here, "dates") == {
        1: {**FILES, "saved_model.pb": b"a"},
        2: {**FILES, "saved_model.pb": b"b"},
    }
    assert mirrored(here, "languages")[1]["saved_model.pb"] == b"c"
    assert '"/models/languages"' in (here / "models.config").read_text()
    push(models("d"), remote / "dates", "d", keep=2)
    assert list(pull(str(remote), str(here))) == [
        "dates/3  pulled, 2.3 MB",
        "dates/2  is there",
        "dates/1  removed, as it is gone there",
        "languages/1  is there",
    ]
    assert sorted(mirrored(here, "dates")) == [2, 3]


def test_one_model_is_mirrored_by_the_command(remote, models, here):
    push(models("a"), remote / "dates", "a")
    push(models("c"), remote / "languages", "c")
    done = CliRunner().invoke(app, ["pull", str(remote / "dates"), str(here)])
    assert (done.exit_code, done.output) == (0, "dates/1  pulled, 2.3 MB\n")
    assert sorted(path.name for path in here.iterdir() if path.is_dir()) == ["dates"]


def test_a_pull_that_was_killed_is_given_again(remote, models, here, monkeypatch):
    push(models("a"), remote / "dates", "a")
    push(models("b"), remote / "dates", "b")
    download = files.download

    def killed(source, target):
        if source.parent.name == "variables":
            raise KeyboardInterrupt
        download(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(files, "download", killed)
        with pytest.raises(KeyboardInterrupt):
            list(pull(str(remote), str(here)))
    assert mirrored(here, "dates") == {}
    list(pull(str(remote), str(here)))
    assert sorted(mirrored(here, "dates")) == [1, 2]


def test_what_was_damaged_here_is_pulled_again(remote, models, here):
    push(models("a"), remote / "dates", "a")
    list(pull(str(remote), str(here)))
    (here / "dates" / "1" / "assets" / "words.txt").write_text("other")
    assert list(pull(str(remote), str(here))) == ["dates/1  pulled, 2.3 MB"]
    assert mirrored(here, "dates")[1]["assets/words.txt"] == FILES["assets/words.txt"]
    (here / "dates" / "1" / "assets.extra" / "rnnpipe.json").write_text("other")
    assert list(pull(str(remote), str(here))) == ["dates/1  pulled, 2.3 MB"]
    assert [path.name for path in (here / "dates").iterdir()] == ["1"]


def test_only_whole_versions_are_pulled(remote, models, here):
    push(models("a"), remote / "dates", "a")
    push(models("b"), remote / "dates", "b")
    files.write(remote / "dates" / "2" / "saved_model.pb", b"B")
    files.write(remote / "dates" / "3" / "variables" / "variables.index", b"no graph yet")
    files.write(remote / "dates" / "4" / "saved_model.pb", b"by hand")
    said = []
    with pytest.raises(UserError, match=r"dates/2 is damaged: saved_model.pb is not what was pushed"):
        said.extend(pull(str(remote), str(here)))
    assert sorted(mirrored(here, "dates")) == [1]
    said = said or list(lines_of(remote, here))
    assert "dates/4  passed over: rnnpipe has not pushed it, and cannot know whether it is whole" in said


def lines_of(remote, here):
    try:
        yield from pull(str(remote), str(here))
    except UserError as error:
        yield str(error)


def test_a_note_that_leads_out_of_the_directory_is_none(remote, models, here):
    push(models("a"), remote / "dates", "a")
    path = remote / "dates" / "1" / "assets.extra" / "rnnpipe.json"
    files.write(path, files.read(path).replace(b"assets/words.txt", b"../../words.txt"))
    with pytest.raises(UserError, match=r"cannot be read: .*leads out of the version's directory"):
        list(pull(str(remote), str(here)))
    assert not here.exists() or not list(here.rglob("*.txt"))


def test_what_answers_here_is_never_removed(remote, models, here):
    for name in ("a", "b", "c"):
        push(models(name), remote / "dates", name)
    list(pull(str(remote), str(here)))
    (here / "dates" / "1" / "assets.extra" / "rnnpipe.json").unlink()  # somebody else's
    for number in (1, 3):
        remove(remote / "dates" / str(number))
    list(pull(str(remote), str(here)))
    assert sorted(mirrored(here, "dates")) == [1, 2, 3]


def test_where_there_is_nothing_to_pull(remote, here):
    with pytest.raises(
        UserError, match="holds no version of a model; expected the directory that models are"
    ):
        list(pull(str(remote), str(here)))
    with pytest.raises(UserError, match="expected a directory on this machine"):
        list(pull(str(remote), "memory://elsewhere"))
    assert not here.exists()


def test_a_place_that_takes_nothing_is_told(remote, models, here):
    push(models("a"), remote / "dates", "a")
    here.touch()
    with pytest.raises(UserError, match=r"could not pull .*dates to .*mirror: .*What is there stays"):
        list(pull(str(remote), str(here)))


def test_a_remote_model_is_asked_from_a_copy_and_not_served(remote, models):
    for name in ("a", "b"):
        push(models(name), remote / "dates", name)
    assert (find_model(str(remote / "dates")) / "saved_model.pb").read_bytes() == b"b"
    assert (find_model(str(remote / "dates" / "1")) / "saved_model.pb").read_bytes() == b"a"
    with pytest.raises(UserError, match=r"serving is no model; .* Did you mean memory://.*/serving/dates\?"):
        find_model(str(remote))
    with pytest.raises(UserError, match=r"nowhere is not there; expected a SavedModel"):
        find_model(str(remote / "nowhere"))
    command = rf"pull it first: rnnpipe pull {remote}/dates served, then rnnpipe serve dates --directory"
    with pytest.raises(UserError, match=command), serving(remote / "dates"):
        pass


def test_where_models_are_pushed_to_nothing_is_pulled(remote, models, here):
    push(models("a"), remote / "dates", "a")
    push(models("b"), files.resolve(here) / "dates", "b")
    with pytest.raises(
        UserError, match=r"models are pushed to .*mirror \(dates\); expected another directory"
    ):
        list(pull(str(remote), str(here)))
    assert mirrored(here, "dates")[1]["saved_model.pb"] == b"b"


def test_a_copy_of_a_served_model_that_was_cleaned_is_fetched_again(remote, models):
    push(models("a"), remote / "dates", "a")
    copy = find_model(str(remote / "dates"))
    (copy / "saved_model.pb").unlink()
    assert (find_model(str(remote / "dates")) / "saved_model.pb").read_bytes() == b"a"
