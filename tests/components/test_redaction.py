import pytest

from components.redaction import redacted, without_password


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://host:5000", "http://host:5000"),
        ("http://user:secret@host:5000/path", "http://host:5000/path"),
        ("http://secret@host", "http://host"),
        ("http://user:sec/ret@host", "http://host"),
        ("http://user:sec@ret@host", "http://host"),
        ("http://user:@sec/@ret/@host:5000/path", "http://host:5000/path"),
        ("postgresql+psycopg2://user:secret@host/runs", "postgresql+psycopg2://host/runs"),
        ("postgresql://host/runs?user=a&password=sec@ret", "postgresql://host/runs?user=a&password=***"),
        ("postgresql://host:5432/runs?password=sec@ret", "postgresql://***"),
        ("http://host?token=secret&page=2", "http://host?token=***&page=2"),
        ("http://host?page=2&Access_Token=secret", "http://host?page=2&Access_Token=***"),
        ("http://host?api-key=secret;sslpassword=secret", "http://host?api-key=***"),
        ("http://user:secret?token=secret@host", "http://***"),
        ("http://user:secret@host?password=secret", "http://host?password=***"),
        ("at http://a:secret@b, and at http://c:secret@d.", "at http://b, and at http://d."),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("s3://bucket/file@v2.csv", "s3://bucket/file@v2.csv"),
        ("write to me@example.org at 10:00", "write to me@example.org at 10:00"),
        ("", ""),
    ],
)
def test_addresses_lose_what_is_secret(text, expected):
    assert without_password(text) == expected


def test_data_lose_it_wherever_it_is():
    data = {"a": ["http://u:secret@h", 1, None, {"b": ("http://h?token=secret", True)}], 2: 0.5}
    assert redacted(data) == {"a": ["http://h", 1, None, {"b": ["http://h?token=***", True]}], 2: 0.5}
