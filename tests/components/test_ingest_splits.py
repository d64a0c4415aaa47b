"""Splits by label, group and time: what holds of them whatever the data are."""

import itertools
import json
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ingest_cases import ingest, rejected
from pyarrow import parquet

from components.errors import UserError
from components.ingest import locate, parts
from components.ingest.chooser import Chooser, label_hash
from components.ingest.config import IngestConfig
from components.ingest.cuts import POSITION, find_cuts
from components.ingest.splits import choose, hash64, held_out
from components.strict import SPLITS

HOLDOUT = {"test": 0.1, "validation": 0.1}
KEPT = ["text", "label", "by"]
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, rows):
    Path(name).write_text("text\tlabel\tby\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows))


def members(made, fields=KEPT):
    """By split, the rows as they were written."""
    return {
        split: [
            row
            for name in made.parts_of(split)
            for batch in made.batches(name, fields)
            for row in zip(*batch.values(), strict=True)
        ]
        for split in SPLITS
    }


def split(rows, kind, **more):
    """Ingests rows from one file."""
    write("one.tsv", rows)
    return members(ingest({"files": "one.tsv", "keep": {"by": "by"}, "split": kind, **more}))


GROUP, TIME, STRATIFIED = (
    {"type": "group", "column": "by"},
    {"type": "time", "column": "by"},
    {"type": "stratified"},
)


@FEW
@given(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=40, max_size=80))
def test_no_group_is_in_two_splits(folder, groups):
    assume(any(choose(hash64(group.encode()), HOLDOUT) == "train" for group in groups))
    made = split([(f"t{n}", "xy"[n % 2], group) for n, group in enumerate(groups)], GROUP)
    seen = [{row[2] for row in rows} for rows in made.values()]
    assert not any(one & other for one, other in itertools.combinations(seen, 2))
    assert sum(map(len, made.values())) == len(groups)


@FEW
@given(st.lists(st.integers(-50, 50), min_size=2, max_size=60), st.sampled_from([0.1, 0.3, 0.45]))
def test_time_goes_forward_and_equal_times_stay_together(folder, times, fraction):
    rows = [(f"t{n}", "xy"[n % 2], time) for n, time in enumerate(times)]
    made = split(rows, TIME, holdout={"validation": fraction, "test": fraction})
    there = [[int(row[2]) for row in made[name]] for name in SPLITS if made[name]]
    assert made["train"]
    assert sum(map(len, there)) == len(times)
    for earlier, later in itertools.pairwise(there):
        assert max(earlier) < min(later)


@FEW
@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 25), min_size=1), st.floats(0.05, 0.45))
def test_fractions_hold_within_one_record_of_every_label(folder, counts, fraction):
    rows = [(f"{label} {n}", label, "") for label, count in counts.items() for n in range(count)]
    made = split(rows, STRATIFIED, holdout={"validation": fraction, "test": 0.1})
    found = {name: Counter(row[1] for row in made[name]) for name in SPLITS}
    for label, count in counts.items():
        assert found["train"][label] >= 1
        wanted = {"validation": fraction * count, "test": 0.1 * count}
        if count - sum(wanted.values()) >= 1:  # else the one that train must have is missing elsewhere
            for name, expected in wanted.items():
                assert abs(found[name][label] - expected) < 1 + 1e-9


def test_fractions_hold_over_many_small_labels(folder):
    rows = [(f"t{n}", f"l{n // 4}", "") for n in range(2400)]
    made = split(rows, STRATIFIED)
    # Rounding alone would give validation 25 % and test nothing.
    assert 0.08 < len(made["validation"]) / 2400 < 0.12
    assert 0.08 < len(made["test"]) / 2400 < 0.12


def test_labels_of_one_record_are_in_train_and_those_of_two_at_least_once(folder):
    rows = [(f"one {n}", f"one{n}", "") for n in range(30)]
    rows += [(f"two {n}", f"two{n // 2}", "") for n in range(60)]
    made = split(rows, STRATIFIED)
    trained = Counter(row[1] for row in made["train"])
    assert all(trained[f"one{n}"] == 1 for n in range(30))
    assert all(trained[f"two{n}"] >= 1 for n in range(30))
    assert len(made["train"]) < 90


@pytest.mark.parametrize("kind", [GROUP, TIME, STRATIFIED], ids=lambda kind: kind["type"])
def test_neither_the_files_nor_their_order_nor_the_size_of_chunks_matters(folder, monkeypatch, kind):
    chance = random.Random(3)
    rows = [(f"t{n}", chance.choice("abc"), chance.randrange(200)) for n in range(500)]
    whole = split(rows, kind)
    assert all(whole.values())
    chance.shuffle(rows)
    write("b.tsv", rows[:180])
    write("a.tsv", rows[180:])
    monkeypatch.setattr(parts, "PART_BYTES", 500)
    monkeypatch.setattr(locate, "_POSITIONS", 7)
    cut = ingest({"files": "?.tsv", "keep": {"by": "by"}, "split": kind})
    assert len(cut.parts_of("train")) > 3
    assert {name: sorted(found) for name, found in members(cut).items()} == {
        name: sorted(found) for name, found in whole.items()
    }


def test_another_record_moves_only_its_own_label_and_hash_is_nearly_the_same(folder):
    rows = [(f"t{n}", "abc"[n % 3], "") for n in range(600)]
    before, after = split(rows, STRATIFIED), split([*rows, ("new", "a", "")], STRATIFIED)
    for name in SPLITS:
        assert [row for row in before[name] if row[1] != "a"] == [row for row in after[name] if row[1] != "a"]
    by_hash = split(rows, {"type": "hash"})
    moved = sum(len(set(by_hash[name]) - set(before[name])) for name in SPLITS)
    assert moved < 60


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 7 << 60, 2**64 - 1]), st.integers(0, 2**64 - 1) | st.integers(0, 5)),
        min_size=1,
        max_size=60,
    ),
    st.lists(st.floats(0.01, 0.45), min_size=1, max_size=2),
    st.integers(1, 5),
)
def test_cuts_are_those_of_sorted_keys(rows, fractions, chunks):
    found = find_cuts(np.array_split(np.array(rows, POSITION), chunks), fractions)
    keys = defaultdict(list)
    for stratum, key in rows:
        keys[stratum].append(key)
    assert [(cut.stratum, cut.total) for cut in found] == [(of, len(keys[of])) for of in sorted(keys)]
    for cut in found:
        ordered = sorted(keys[cut.stratum])
        count, drawn = len(ordered), (cut.stratum >> 11) / 2**53
        for index, first in enumerate(cut.firsts):
            rank = max(1, count - int(np.floor(count * sum(fractions[index:]) + drawn)))
            here = ordered[min(rank, count - 1)]
            start, end = ordered.index(here), count - ordered[::-1].index(here)
            later = start > 0 and rank - start <= end - rank
            assert sum(key < first for key in ordered) == (start if later else end)


def test_times_of_all_kinds_of_files(folder):
    days = [f"2024-03-{day:02d}" for day in range(1, 21)]
    iso = [f"{day}T23:30:00-01:00" for day in days]  # in UTC on the next day
    write("a.tsv", [(f"a{n}", "x", when) for n, when in enumerate(iso)])
    Path("b.jsonl").write_text(
        "".join(json.dumps({"text": f"b{n}", "label": "x", "by": day}) + "\n" for n, day in enumerate(days))
    )
    stamps = pyarrow.array(np.array(days, "datetime64[ms]"))
    dates = pyarrow.array(np.array(days, "datetime64[D]"))
    for name, column in (("c", stamps), ("d", dates)):
        table = {"text": [f"{name}{n}" for n in range(20)], "label": ["x"] * 20, "by": column}
        parquet.write_table(pyarrow.table(table), f"{name}.parquet")
    made = ingest({"files": ["a.tsv", "*.jsonl", "*.parquet"], "split": TIME, "holdout": {"test": 0.25}})
    found = members(made, ["text"])
    later = {f"{name}{n}" for name in "bcd" for n in range(15, 20)} | {f"a{n}" for n in range(14, 20)}
    assert {text for (text,) in found["test"]} == later
    assert made.statistics()["split"]["times"] == {
        "train": {"first": "2024-03-01", "last": "2024-03-15T00:30:00", "places": ["b.jsonl:1", "a.tsv:15"]},
        "test": {
            "first": "2024-03-16",
            "last": "2024-03-21T00:30:00",
            "places": ["b.jsonl:16", "a.tsv:21"],
        },
    }


def test_what_is_no_time_or_no_group_is_rejected(folder):
    rows = [(f"t{n}", "x", n) for n in range(30)]
    write("a.tsv", [*rows, ("odd", "x", "soon"), ("none", "x", " "), ("day", "x", "2024-03-01")])
    made = ingest({"files": "a.tsv", "split": TIME, "max_rejected": 3})
    assert [(line, reason) for _, line, reason, _ in rejected(made)] == [
        (32, "column 'by' is unreadable, expected a time in ISO 8601 or a number"),
        (33, "column 'by' is empty, expected a time in ISO 8601 or a number"),
        (34, "column 'by' has a date, but most times are numbers"),
    ]
    made = ingest({"files": "a.tsv", "split": GROUP, "max_rejected": 1})
    assert [(line, reason) for _, line, reason, _ in rejected(made)] == [
        (33, "column 'by' is empty, expected a group")
    ]


def test_a_column_that_is_nowhere_a_time_or_missing_stops_the_run(folder):
    write("a.tsv", [(f"t{n}", "x", "soon") for n in range(30)])
    with pytest.raises(UserError) as caught:
        ingest({"files": "a.tsv", "split": TIME})
    assert "30 x column 'by' is unreadable, expected a time in ISO 8601 or a number (such as a.tsv:2)" in str(
        caught.value
    )
    assert "`ingest.columns` or `ingest.split.column`" in str(caught.value)
    with pytest.raises(
        UserError, match=r"no column 'bye', expected one for 'split.column'. .*Did you mean 'by'"
    ):
        ingest({"files": "a.tsv", "split": {"type": "group", "column": "bye"}})


def test_groups_by_position(folder):
    Path("a.csv").write_text("".join(f"t{n},{'xy'[n % 2]},g{n // 10}\n" for n in range(200)))
    config = {"files": "a.csv", "columns": {"text": 0, "label": 1}, "split": {"type": "group", "column": 2}}
    made = members(ingest(config), ["text"])
    found = {name: {int(text[1:]) // 10 for (text,) in rows} for name, rows in made.items()}
    expected = {name: set() for name in SPLITS}
    for group in range(20):
        expected[choose(hash64(b"g%d" % group), HOLDOUT)].add(group)
    assert found == expected


def test_given_splits_stay_and_their_groups_are_checked(folder):
    write("train.tsv", [("a", "x", "ann"), ("b", "y", "bob"), ("c", "x", "cy")])
    write(
        "test.tsv",
        [("d", "x", "dan"), ("e", "y", "bob"), ("f", "y", "bob"), ("g", "x", ""), ("h", "y", "cy")],
    )
    files = {"files": {"train": "train.tsv", "test": "test.tsv"}, "holdout": {}}
    made = ingest({**files, "split": GROUP})
    assert made.summary["examples"] == {"train": 3, "validation": 0, "test": 5}
    assert made.statistics()["split"] == {
        **GROUP,
        "shared_groups": [
            {
                "splits": ["train", "test"],
                "groups": 2,
                "places": [["train.tsv:3", "test.tsv:3"], ["train.tsv:4", "test.tsv:6"]],
            }
        ],
    }
    assert made.summary["warnings"][-2:] == [
        "Values of 'by' (`ingest.split`) that are in train and in test: 2 (such as in train.tsv:3 and "
        "test.tsv:3). What is measured on test will look better than it is for values that are new.",
        "Examples of given splits in which `ingest.split.column` says nothing, so that they were not "
        "checked: 1 (such as test.tsv:5, column 'by' is empty, expected a group).",
    ]
    plain = ingest(files)
    assert {part: plain.manifest.digests[part] for part in SPLITS} == {
        part: made.manifest.digests[part] for part in SPLITS
    }


def test_the_order_of_given_splits_is_checked(folder):
    write("train.tsv", [("a", "x", "2024-01-01"), ("b", "y", "2024-03-01")])
    write("validation.tsv", [("c", "x", "2024-03-01")])
    write("test.tsv", [("d", "x", "2024-02-01"), ("e", "y", "2024-05-01"), ("f", "y", "7")])
    files = {name: f"{name}.tsv" for name in SPLITS}
    made = ingest({"files": files, "split": TIME})
    assert made.summary["warnings"] == [
        "The times in 'by' (`ingest.split`) overlap: test begins at 2024-02-01 (test.tsv:2), and train ends "
        "at 2024-03-01 (train.tsv:3). What is measured on test is no forecast.",
        "The times in 'by' (`ingest.split`) overlap: test begins at 2024-02-01 (test.tsv:2), and "
        "validation ends at 2024-03-01 (validation.tsv:2). What is measured on test is no forecast.",
    ]


def test_a_split_of_another_size_than_asked_for_is_told(folder):
    large = next(name for name in map(str, range(99)) if choose(hash64(name.encode()), HOLDOUT) == "test")
    write("a.tsv", [(f"t{n}", "x", large if n % 2 else f"u{n}") for n in range(400)])
    warnings = ingest({"files": "a.tsv", "split": GROUP}).summary["warnings"]
    assert any(warning.startswith("test has 5") and "instead of 10.0%" in warning for warning in warnings)
    assert not any(
        warning.startswith("test has") for warning in ingest({"files": "a.tsv"}).summary["warnings"]
    )


def test_a_file_that_changed_between_the_passes_loses_no_record_silently():
    config = IngestConfig(files="a.tsv", split=STRATIFIED)
    cuts = find_cuts([np.array([(label_hash("x"), 5)], POSITION)], [0.1, 0.1])
    assert Chooser(config, cuts).choose((label_hash("x"), 5)) == ("train", "")
    assert Chooser(config, cuts).choose((label_hash("y"), 5)) == (
        "train",
        "the file was changed while it was read",
    )


def test_a_word_is_a_section():
    assert IngestConfig(files="a", split="stratified") == IngestConfig(files="a", split=STRATIFIED)
    assert held_out(IngestConfig(files="a", split="hash")) == HOLDOUT
