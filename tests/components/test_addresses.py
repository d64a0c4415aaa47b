from pathlib import Path

import pytest
from sqlalchemy import make_url

from components.addresses import file_address, file_path, sqlite_address, sqlite_path

ODD = ["/a b/ö", "/a%2Fb", "/100%", "/a%20b/c%3F", "/a?b", "/a#b", "/[v1] x*y", "/a%252Fb;c,d&e=f+g:h@i"]


@pytest.mark.parametrize("path", ODD)
def test_there_and_back(path):
    assert file_path(file_address(Path(path))) == Path(path)
    assert sqlite_path(sqlite_address(Path(path))) == Path(path)


@pytest.mark.parametrize("path", ODD)
def test_a_database_s_address_is_what_sqlalchemy_reads(path):
    url = make_url(sqlite_address(Path(path)))
    assert (url.database, dict(url.query), url.get_backend_name()) == (path, {}, "sqlite")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///a%20b", "/a b"),
        ("file://localhost/a", "/a"),
        ("file:/a%2525", "/a%25"),
        ("s3://a/b", None),
        ("/a", None),
        ("file", None),
    ],
)
def test_files(address, path):
    assert file_path(address) == (path and Path(path))


def test_databases(tmp_path, monkeypatch):
    folder = tmp_path / "a%2Fb"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert sqlite_path("sqlite:///mlflow.db") == folder / "mlflow.db"  # the folder is a path, no address
    assert sqlite_path("sqlite:///a%20b.db?timeout=3") == folder / "a b.db"
    assert sqlite_address(Path("/a b/mlflow.db")) == "sqlite:////a b/mlflow.db"
    assert sqlite_path("postgresql://user@host/mlflow") is None
    assert sqlite_path("http://host") is None
