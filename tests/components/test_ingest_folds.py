"""Folds: every record is in the test split of one of them, and what belongs together stays together."""

import itertools
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest_cases import ingest
from pydantic import ValidationError

from components.errors import UserError
from components.ingest.config import PLACE, IngestConfig
from components.ingest.cuts import POSITION
from components.ingest.folds import Dealt, FoldChooser, find_fold
from components.strict import SPLITS

FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(max_examples=150, deadline=None)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(folds, fold, watched=0.2, **split):
    """Of one fold."""
    return IngestConfig(
        files="one.tsv",
        holdout={"validation": watched} if watched else {},
        split={"type": "fold", "folds": folds, "fold": fold, **split},
    )


def deal(records, folds, watched=0.2, **split):
    """By fold, the split of every record: (text's hash, label, group)."""
    dealt = []
    for fold in range(1, folds + 1):
        of_fold = config(folds, fold, watched, **split)
        positions = [FoldChooser(of_fold).locate(*record)[0] for record in records]
        by_stratum = {}
        for position in positions:
            by_stratum.setdefault(position[0] % 64, []).append(position)
        found = [
            each
            for rows in by_stratum.values()
            for each in find_fold(np.array_split(np.array(rows, POSITION), 3), of_fold)
        ]
        chooser = FoldChooser(of_fold, found)
        dealt.append([chooser.choose(chooser.locate(*record)[0])[0] for record in records])
    return dealt


def hashes(seed, count):
    draw = random.Random(seed)
    return [draw.getrandbits(64) for _ in range(count)]


@MANY
@given(st.integers(0, 9999), st.integers(2, 7), st.integers(0, 80), st.sampled_from([0.0, 0.1, 0.4]))
def test_every_record_is_tested_once_in_folds_of_equal_size(seed, folds, more, watched):
    records = [(text, "x", None) for text in hashes(seed, folds + more)]
    dealt = deal(records, folds, watched)
    for splits in zip(*dealt, strict=True):
        assert splits.count("test") == 1
    for splits in dealt:
        counts = Counter(splits)
        assert abs(counts["test"] - len(records) / folds) < 1
        others = len(records) - counts["test"]
        assert counts["train"] >= 1
        assert counts["validation"] <= others - 1
        assert abs(counts["validation"] - min(watched * others, others - 1)) < 1


@MANY
@given(
    st.integers(0, 9999),
    st.integers(2, 5),
    st.lists(st.integers(0, 40), min_size=1, max_size=4),
    st.booleans(),
)
def test_every_label_is_spread_over_the_folds(seed, folds, more, watch):
    counts = {f"label {number}": folds + count for number, count in enumerate(more)}
    labels = [label for label, count in counts.items() for _ in range(count)]
    records = [(text, label, None) for text, label in zip(hashes(seed, len(labels)), labels, strict=True)]
    dealt = deal(records, folds, 0.2 if watch else 0.0, stratified=True)
    for splits in zip(*dealt, strict=True):
        assert splits.count("test") == 1
    for splits in dealt:
        found = Counter(zip(labels, splits, strict=True))
        for label, count in counts.items():
            assert abs(found[label, "test"] - count / folds) < 1
            assert found[label, "train"] >= 1


@MANY
@given(st.integers(0, 9999), st.integers(2, 5), st.data())
def test_equal_texts_share_a_split(seed, folds, data):
    texts = data.draw(st.lists(st.sampled_from(hashes(seed, 12)), min_size=folds, max_size=40))
    dealt = deal([(text, "x", None) for text in texts], folds)
    for splits in dealt:
        assert len(set(zip(texts, splits, strict=True))) == len(set(texts))
    for splits in zip(*dealt, strict=True):
        assert splits.count("test") == 1


@MANY
@given(st.integers(3, 5), st.integers(0, 6), st.data())
def test_groups_stay_together_and_every_fold_has_some(folds, more, data):
    names = [f"g{number}" for number in range(folds + 1 + more)]
    others = data.draw(st.lists(st.sampled_from(names), max_size=60))
    groups = [*names, *others]
    dealt = deal([(0, "x", group) for group in groups], folds, column="by")
    for splits in zip(*dealt, strict=True):
        assert splits.count("test") == 1
    for splits in dealt:
        assert len(set(zip(groups, splits, strict=True))) == len(names)
        counts = Counter(splits)
        assert all(counts[split] for split in SPLITS)
        least = min(Counter(groups).values())
        assert counts["validation"] <= max(0.2 * (len(groups) - counts["test"]), least) or (
            len({group for group, split in zip(groups, splits, strict=True) if split == "validation"}) == 1
        )


def test_groups_without_a_validation_split():
    dealt = deal([(0, "x", group) for group in "abcabcd"], 2, watched=0.0, column="by")
    assert [set(splits) for splits in dealt] == [{"train", "test"}] * 2


def test_a_giant_group_is_a_fold_of_its_own():
    groups = ["giant"] * 90 + ["a", "b", "c", "d", "e", "f"] * 2
    tests = [
        {group for group, split in zip(groups, splits, strict=True) if split == "test"}
        for splits in deal([(0, "x", group) for group in groups], 3, column="by")
    ]
    assert {"giant"} in tests
    assert sorted(map(len, tests)) == [1, 3, 3]


def test_the_folds_do_not_depend_on_the_validation_fraction():
    records = [(text, "xy"[text % 2], None) for text in hashes(3, 60)]
    one, other = (deal(records, 4, watched, stratified=True) for watched in (0.0, 0.3))
    tests = [[[split == "test" for split in splits] for splits in dealt] for dealt in (one, other)]
    assert tests[0] == tests[1]


def write(rows, header="text\tlabel\tby"):
    Path("one.tsv").write_text(header + "\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows))


def folds_of(folds, **split):
    """Every fold's artifact, from the file."""
    return [
        ingest({"files": "one.tsv", "split": {"type": "fold", "folds": folds, "fold": fold, **split}})
        for fold in range(1, folds + 1)
    ]


@FEW
@given(st.integers(2, 4), st.sampled_from([{}, {"stratified": True}, {"column": "by"}]), st.integers(0, 99))
def test_ingest_keeps_the_place_of_every_tested_record(folder, folds, split, seed):
    draw = random.Random(seed)
    write([(f"t{n}", "xy"[n % 2], f"g{draw.randrange(20)}") for n in range(60)])
    lines = [
        (int(place.partition(":")[2]), text)
        for made in folds_of(folds, **split)
        for part in made.parts_of("test")
        for batch in made.batches(part, [PLACE, "text"])
        for place, text in zip(*batch.values(), strict=True)
    ]
    assert sorted(lines) == [(n + 2, f"t{n}") for n in range(60)]


def test_named_validation_files_stay_what_they_are(folder):
    write([(f"t{n}", "xy"[n % 2], f"g{n}") for n in range(20)])
    Path("two.tsv").write_text("text\tlabel\tby\nv\tx\tg1\n")
    made = ingest(
        {
            "files": {"train": "one.tsv", "validation": "two.tsv"},
            "split": {"type": "fold", "folds": 2, "fold": 1, "column": "by"},
        }
    )
    counts = {split: made.count(split) for split in SPLITS}
    assert counts == {"train": 10, "validation": 1, "test": 10}
    (shared,) = made.statistics()["split"]["shared_groups"]  # g1 is in one of the two parts of train
    assert shared["groups"] == 1
    assert "validation" in shared["splits"]


@pytest.mark.parametrize(
    ("rows", "split", "message"),
    [
        ([("a", "x", "g"), ("b", "x", "g")], {}, "received 2 records for 3 folds"),
        (
            [*((f"t{n}", "x", "g") for n in range(9)), ("u", "y", "g"), ("v", "z", "g")],
            {"stratified": True},
            r"label '[yz]' has 1 records \(and 1 more labels have fewer than 3\), expected at least 3",
        ),
        ([(f"t{n}", "x", n % 2) for n in range(9)], {"column": "by"}, "'by' has 2 different values"),
        ([("same", "x", n) for n in range(9)], {}, "no example is in fold 2 of 3.*equal texts share a fold"),
        ([(f"t{n}", "x", n) for n in range(9)], {"column": "buy"}, "Did you mean 'by'"),
    ],
)
def test_what_cannot_be_dealt_is_refused(folder, rows, split, message):
    write(rows)
    with pytest.raises(UserError, match=message):
        ingest({"files": "one.tsv", "split": {"type": "fold", "folds": 3, "fold": 2, **split}})


def test_one_group_beside_the_test_fold_leaves_none_for_validation(folder):
    write([(f"t{n}", "x", n % 2) for n in range(9)])
    with pytest.raises(UserError, match="one value is left beside fold 1"):
        folds_of(2, column="by")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"folds": 1, "fold": 1}, "greater than or equal to 2"),
        ({"folds": 3, "fold": 4}, "fold received 4, expected 1 to 3"),
        ({"folds": 3, "fold": 1, "stratified": True, "column": "by"}, "expected one of them"),
    ],
)
def test_wrong_settings_are_refused(split, message):
    with pytest.raises(ValidationError, match=message):
        IngestConfig(files="one.tsv", split={"type": "fold", **split})


def test_a_group_that_was_not_there_before_is_rejected():
    chooser = FoldChooser(
        config(2, 1, column="by"), [Dealt(np.array([5], np.uint64), np.array([2], np.uint8))]
    )
    assert chooser.choose((0, 5)) == ("test", "")
    assert [chooser.choose((0, key))[1] for key in (4, 6)] == ["the file was changed while it was read"] * 2


def test_values_that_are_no_group_are_rejected(folder):
    write([*((f"t{n}", "x", n) for n in range(40)), ("u", "x", " ")])
    made = folds_of(2, column="by")
    assert [[row["reason"] for row in each.rejected()] for each in made] == [
        ["column 'by' is empty, expected a group"]
    ] * 2
    assert list(itertools.chain(*(each.statistics()["split"]["column"] for each in made))) == list("byby")
