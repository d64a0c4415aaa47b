import datetime
import decimal
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from ingest_cases import ALL, examples, ingest, kept, rejected
from pyarrow import parquet

from components.errors import UserError
from components.ingest import parquet_rows


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(rows=3, **columns):
    """A file with `rows` good examples and these columns."""
    base = {"text": [f"t{row}" for row in range(rows)], "label": ["x"] * rows}
    parquet.write_table(pa.table({**base, **columns}), "a.parquet")


OUT_OF_RANGE = {
    "date32": pa.array([1, 20_000_000, -20_000_000], pa.date32()),
    "date64": pa.array([86_400_000, 2**60, -(2**60)], pa.int64()).view(pa.date64()),
    "timestamp[us]": pa.array([1, 2**62, -(2**62)], pa.timestamp("us")),
    "timestamp[s, tz=UTC]": pa.array([1, 2**50, -(2**50)], pa.timestamp("s", "UTC")),
    "timestamp[s, tz=Nowhere/There]": pa.array([1, 2, 3], pa.timestamp("s", "Nowhere/There")),
    "duration[s]": pa.array([1, 2**62, -(2**62)], pa.duration("s")),
}


@pytest.mark.parametrize("kind", OUT_OF_RANGE)
def test_a_kept_value_that_python_has_no_word_for_is_left_empty(kind):
    write(when=OUT_OF_RANGE[kind])
    made = ingest({"files": "a.parquet", "keep": {"when": "when"}, **ALL})
    assert examples(made) == [("t0", "x"), ("t1", "x"), ("t2", "x")]
    values = kept(made, "when")
    assert values[1:] == ["", ""]
    assert bool(values[0]) == ("Nowhere" not in kind)
    (warning,) = (each for each in made.summary["warnings"] if "`ingest.keep`" in each)
    assert "a.parquet:" in warning
    assert "that cannot be read" in warning


def test_whole_numbers_with_gaps_are_the_same_as_without():
    """pandas makes floats of them, and of a gap what is no number."""
    write(when=pa.array([3.0, float("nan"), 0.5], pa.float64()))
    assert kept(ingest({"files": "a.parquet", "keep": {"when": "when"}, **ALL}), "when") == ["3", "", "0.5"]


def test_a_record_of_a_group_that_is_no_number_is_rejected():
    write(when=pa.array([3.0, float("nan"), 4.0], pa.float64()))
    made = ingest({"files": "a.parquet", "split": {"type": "group", "column": "when"}, "max_rejected": 3})
    assert len(rejected(made)) == 1


@pytest.mark.parametrize("kind", ["date32", "timestamp[us]"])
@pytest.mark.parametrize("field", ["text", "label"])
def test_an_example_of_such_values_is_rejected(kind, field):
    write(**{field: OUT_OF_RANGE[kind]})
    Path("b.tsv").write_text("text\tlabel\ngood\tx\n")
    made = ingest({"files": ["a.parquet", "b.tsv"], "max_rejected": 3, **ALL})
    assert examples(made) == [("good", "x")]
    reasons = [row[2] for row in rejected(made)]
    assert reasons[0] == f"{field} is of type {'date' if kind == 'date32' else 'datetime'}, not a string"
    assert reasons[1].startswith(f"{field} is a {kind}")
    assert "that cannot be read" in reasons[1]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([datetime.date(2024, 3, 12), None, datetime.date(9999, 12, 31)], ["2024-03-12", "", "9999-12-31"]),
        ([datetime.datetime(2024, 3, 12, 1, 2, 3)] * 3, ["2024-03-12T01:02:03"] * 3),
        ([datetime.time(1, 2, 3)] * 3, ["01:02:03"] * 3),
        ([datetime.timedelta(days=1)] * 3, ["1 day, 0:00:00"] * 3),
        ([decimal.Decimal("1.50")] * 3, ["1.50"] * 3),
        ([True, False, None], ["true", "false", ""]),
        (pa.array([1, 2, 10**9 + 1], pa.timestamp("ns")), None),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", "", "a"]),
        (pa.array([b"\xff", b" e\xcc\x81 ", b""]).view(pa.string()), ["", "é", ""]),
        (pa.array([datetime.date(2024, 3, 12)] * 3).dictionary_encode(), ["2024-03-12"] * 3),
    ],
)
def test_values_that_are_kept(values, texts):
    write(kept=values)
    found = kept(ingest({"files": "a.parquet", "keep": {"value": "kept"}, **ALL}), "value")
    if texts is None:  # of nanoseconds, as much as there is a type for
        assert len(found) == 3
    else:
        assert found == texts


@pytest.mark.parametrize(("values", "kind"), [([["a"], [], None], "list"), ([{"b": "a"}, {}, None], "dict")])
def test_nested_columns_are_rejected_or_left_empty(values, kind):
    write(nested=values)
    made = ingest({"files": "a.parquet", "keep": {"value": "nested"}, **ALL})
    assert kept(made, "value") == ["", "", ""]
    with pytest.raises(UserError, match=f"3 x text is of type {kind}, not a string"):
        ingest({"files": "a.parquet", "columns": {"text": "nested"}, **ALL})
    with pytest.raises(UserError, match=f"3 x text is of type {kind}, not a string"):
        ingest({"files": "a.parquet", "columns": {"text": "nested", "label": "nested"}, **ALL})


@pytest.mark.parametrize("size", [1, 10, 1 << 30])
def test_rows_in_memory_are_bounded_by_their_size(monkeypatch, size):
    monkeypatch.setattr(parquet_rows, "_BATCH_BYTES", size)
    write(rows=100)
    assert examples(ingest({"files": "a.parquet", **ALL})) == [(f"t{row}", "x") for row in range(100)]


LARGE = 8 << 20


def expanding(rows, value, arrow_schema=True, **options):
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))
    table = pa.table({"text": text, "label": ["x"] * rows})
    parquet.write_table(table, "a.parquet", compression="zstd", store_schema=arrow_schema, **options)


READ = """
import resource
from upath import UPath
from components.ingest.readers import read_records
from components.ingest.sources import Source
columns = {"text": "text", "label": "label"}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
records = read_records(Source(0, "train", "parquet", dict.fromkeys(columns, UPath("a.parquet"))), columns)
print(sum(len(record.values[0]) for record in records))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("arrow_schema", [True, False])
def test_a_value_that_stands_in_many_rows_is_in_memory_once(arrow_schema):
    expanding(1000, "x" * LARGE, arrow_schema)
    assert Path("a.parquet").stat().st_size < 2000
    ran = subprocess.run(
        [sys.executable, "-c", READ],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    characters, kilobytes = map(int, ran.stdout.split())
    assert characters == 1000 * LARGE
    assert kilobytes << 10 < 16 * LARGE


def test_such_rows_are_rejected_one_by_one():
    expanding(20, "x" * LARGE)
    with pytest.raises(UserError, match="20 x text longer than 10000 characters"):
        ingest({"files": "a.parquet", **ALL})
    rows = Path(next(Path("runs").rglob("rejected.jsonl"))).read_bytes()
    assert len(rows) < 20 * 1500


def test_a_column_that_expands_beyond_measure_is_refused(monkeypatch):
    monkeypatch.setattr(parquet_rows, "_UNPACKED_BYTES", LARGE // 2)
    expanding(2, "x" * LARGE)
    with pytest.raises(
        UserError, match=r"a column 'text' whose [\d,]+ bytes expand to 8,388,\d+, expected at most"
    ):
        ingest({"files": "a.parquet", **ALL})
    write(rows=1000)
    assert len(examples(ingest({"files": "a.parquet", **ALL}))) == 1000
