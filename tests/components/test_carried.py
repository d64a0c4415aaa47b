"""Directories that are carried to where workers see them."""

import pytest

from components import files
from components.carried import carry, fetch
from components.errors import UserError


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    made = tmp_path / "model"
    (made / "variables").mkdir(parents=True)
    (made / "saved_model.pb").write_bytes(b"graph")
    (made / "variables" / "data").write_bytes(b"weights")
    return made


@pytest.fixture(params=["disk", "memory"])
def root(request, tmp_path):
    return files.resolve(tmp_path / "root" if request.param == "disk" else f"memory://{tmp_path.name}/root")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_what_arrives_is_what_was_carried(directory, root):
    address = carry(directory, root)
    assert contents(fetch(address)) == contents(directory)
    assert carry(directory, root) == address
    assert fetch(address) == fetch(address)
    (directory / "saved_model.pb").write_bytes(b"other")
    assert carry(directory, root) != address


def test_a_directory_of_this_machine_is_used_as_it_is(directory):
    assert fetch(str(directory)) == directory


def test_a_change_on_the_way_is_noticed(directory, root):
    address = carry(directory, root)
    files.write(files.resolve(address) / "saved_model.pb", b"grabh")
    with pytest.raises(UserError, match=r"saved_model.pb is not what was carried there"):
        fetch(address)
    files.delete([files.resolve(address) / "saved_model.pb"])
    with pytest.raises(UserError, match="was removed while the run went on"):
        fetch(address)


def test_half_of_it_is_carried_again(directory, root):
    address = carry(directory, root)
    files.delete([files.resolve(address) / name for name in ("files.json", "saved_model.pb")])
    assert carry(directory, root) == address
    assert contents(fetch(address)) == contents(directory)
