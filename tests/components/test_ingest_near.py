"""Near-duplicates across splits: what counts as one, and what is told."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_cases import ingest

from components.ingest.duplicates import FINGERPRINT, find_duplicates, merge_duplicates, partition, rows_of
from components.ingest.near import bare
from components.strict import SPLITS

PUNCTUATION = "!\"'(),-.:;?@[\\]_`{}"


def words(text):
    return bare(text, text.encode()).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,  World!", "hello world"),
        ("\tGrüße aus KÖLN…", "grüsse aus köln"),
        ("ＦＵＬＬ　ｗｉｄｔｈ。", "full width"),
        ("12.3.2024", "12 3 2024"),
        ("1.23", "1 23"),
        ("«¿Qué tal?»", "qué tal"),
        ("कि का", "कि का"),  # vowel signs are no punctuation
        ("good 😀", "good 😀"),
        ("12+3", "12+3"),
        ("x > 3", "x > 3"),
        ("C# is fast!", "c# is fast"),
        ("?!", "?!"),
        ("。。。", "。。。"),
        ("", ""),
    ],
)
def test_what_is_left_of_a_text(text, expected):
    assert words(text) == expected


@settings(deadline=None)
@given(st.text(max_size=30), st.text(st.sampled_from(PUNCTUATION + " \n"), max_size=3))
def test_case_and_what_stands_around_change_nothing(text, around):
    assert words(words(text)) == words(text)
    if words(text) != text or text.isalnum():
        assert words(f"{around} {text} {around}") == words(text) or not any(map(str.isalnum, text))
    if text.isascii():
        assert words(text.upper()) == words(text) or not text.strip(PUNCTUATION + " ")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40))
def test_near_duplicates_are_those_that_sets_find(rows):
    rows = [(near << 60 | text, near << 60, n, 0, n, split) for n, (near, text, split) in enumerate(rows)]
    assert (rows_of(rows, FINGERPRINT) == np.array(rows, FINGERPRINT)).all()
    by_partition = {}
    for start in range(0, len(rows), 3):
        for number, chunk in partition(rows_of(rows[start : start + 3], FINGERPRINT), "near"):
            by_partition.setdefault(number, []).append(chunk)
    found = merge_duplicates(map(find_duplicates, by_partition.values()))
    texts, nears = ({row[of] for row in rows if row[5] == 0} for of in (0, 1))
    for index, split in enumerate(SPLITS[1:], 1):
        near = [row for row in rows if row[5] == index and row[0] not in texts and row[1] in nears]
        assert found.near["train", split] == len(near)
        like = [min(row[4] for row in rows if row[5] == 0 and row[1] == one[1]) for one in near[:3]]
        assert found.near_places["train", split] == [
            ((0, here), (0, one[4])) for here, one in zip(like, near[:3], strict=True)
        ]


def test_near_duplicates_are_counted_and_told_where_they_are_many(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = [f"Text number {n}" for n in range(300)]
    test = [f"another {n}" for n in range(194)] + ["text  NUMBER 7!", "Text number 8", "(text) number 9."]
    for name, texts in (("train", train), ("test", test)):
        Path(f"{name}.tsv").write_text("text\tlabel\n" + "".join(f"{text}\tx\n" for text in texts))
    files = {"train": "train.tsv", "test": "test.tsv"}
    made = ingest({"files": files, "holdout": {}})
    near = {
        "splits": ["train", "test"],
        "examples": 2,
        "places": [["train.tsv:9", "test.tsv:196"], ["train.tsv:11", "test.tsv:198"]],
    }
    assert made.statistics()["near_duplicates"] == [near]
    assert made.statistics()["shared_texts"][0]["texts"] == 1
    told = (
        "Examples of test whose texts differ from one of train in case, punctuation or spaces alone: 2, "
        "which is 1.0% (such as test.tsv:196 and train.tsv:9, test.tsv:198 and train.tsv:11). What is "
        "measured on test will look better than it is."
    )
    assert told in made.summary["warnings"]
    with Path("test.tsv").open("a") as file:
        file.writelines(f"more {n}\tx\n" for n in range(3))  # now it is 1 % and no more
    made = ingest({"files": files, "holdout": {}})
    assert made.statistics()["near_duplicates"] == [near]
    assert not any("punctuation" in warning for warning in made.summary["warnings"])
