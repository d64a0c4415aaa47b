import itertools

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_artifacts import make_examples
from pyarrow import parquet

from components.artifacts import columns
from components.artifacts.columns import ColumnWriter, read_columns

ROWS = [
    {"source": "ein Hund", "target": "a dog", "topic": "zoo"},
    {"source": "日本語", "target": "x\0\n", "topic": ""},
    {"source": "a", "target": "b", "topic": "ü"},
]
MADE = {"train": [ROWS[:2], ROWS[2:]], "test": [ROWS[:1]]}


@pytest.fixture(params=["disk", "memory"])
def examples(request, tmp_path):
    root = tmp_path if request.param == "disk" else f"memory://{tmp_path.name}"
    return make_examples(root, "seq2seq", MADE)


def test_parts_are_found_by_split_and_in_order(examples):
    assert examples.parts_of("train") == ["examples/train-00000.parquet", "examples/train-00001.parquet"]
    assert examples.parts_of("test") == ["examples/test-00000.parquet"]
    assert examples.parts_of("validation") == []
    assert [examples.count(split) for split in ("train", "validation", "test")] == [3, 0, 1]


def test_more_than_ten_parts_are_in_order(tmp_path):
    made = make_examples(tmp_path, "seq2seq", {"train": [[(str(number), "x")] for number in range(12)]})
    texts = [batch["source"] for name in made.parts_of("train") for batch in made.batches(name, ["source"])]
    assert texts == [[str(number)] for number in range(12)]


@pytest.mark.parametrize(
    "fields", [("target", "source"), ("topic",), ("topic", "target"), ("source", "topic")]
)
@pytest.mark.parametrize("batch_size", [1, 1024])
def test_texts_come_back_in_order_with_what_was_kept(examples, fields, batch_size):
    read = [list(examples.batches(name, fields, batch_size)) for name in examples.parts_of("train")]
    sizes = [[len(batch[fields[0]]) for batch in batches] for batches in read]
    assert sizes == {1: [[1, 1], [1]], 1024: [[2], [1]]}[batch_size]
    batches = [batch for batches in read for batch in batches]
    assert {tuple(batch) for batch in batches} == {fields}
    for field in fields:
        assert [text for batch in batches for text in batch[field]] == [row[field] for row in ROWS]


def test_a_column_that_is_not_there_is_named(examples):
    with pytest.raises(KeyError, match="has no column 'label', it has: source, target"):
        next(examples.batches("examples/train-00000.parquet", ["label"]))
    with pytest.raises(KeyError, match="has no column 'about', it has: topic"):
        next(examples.batches("examples/train-00000.parquet", ["source", "about"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.text(max_size=5), max_size=7), max_size=6), st.integers(1, 9), st.integers(1, 60))
def test_columns_come_back_whatever_the_batches(tmp_path_factory, batches, size, rows):
    path = tmp_path_factory.mktemp("columns") / "file.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "GROUP_ROWS", rows)
        writer = ColumnWriter(path, {"text": pyarrow.string(), "ids": pyarrow.list_(pyarrow.int32())})
        for batch in batches:
            ids = [[len(text)] * len(text) for text in batch]
            writer.write(
                [pyarrow.array(batch, pyarrow.string()), pyarrow.array(ids, pyarrow.list_(pyarrow.int32()))]
            )
        writer.close()
    whole = list(itertools.chain(*batches))
    read = list(read_columns(path, ["ids", "text"], size))
    assert [text for batch in read for text in batch["text"].to_pylist()] == whole
    assert [ids for batch in read for ids in batch["ids"].to_pylist()] == [
        [len(text)] * len(text) for text in whole
    ]
    assert all(len(batch["text"]) == size for batch in read[:-1])


def test_long_texts_end_row_groups_early(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "GROUP_BYTES", 1000)
    writer = ColumnWriter(tmp_path / "file.parquet", {"text": pyarrow.string()})
    for _ in range(5):
        writer.write([pyarrow.array(["x" * 300, "y" * 300])])
    writer.close()
    metadata = parquet.ParquetFile(tmp_path / "file.parquet").metadata
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [4, 4, 2]
