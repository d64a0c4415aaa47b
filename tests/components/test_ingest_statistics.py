from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest.config import IngestConfig
from components.ingest.duplicates import (
    FINGERPRINT,
    Duplicates,
    find_duplicates,
    merge_duplicates,
    partition,
)
from components.ingest.parts import Part, Rejections
from components.ingest.splits import choose, hash64, held_out
from components.ingest.statistics import make_statistics
from components.strict import SPLITS

TEXTS = st.text(max_size=30)


def part(split, lengths, labels=(), source=0):
    return Part(
        split,
        source,
        f"{split}.tsv",
        0,
        {"text": Counter(lengths), "label": Counter(map(len, labels))},
        Counter(labels),
        examples=len(lengths),
    )


def statistics(parts, rejected=(), duplicates=None):
    return make_statistics("classification", parts, rejected, duplicates or Duplicates())


def duplicates_of(rows, chunk=3):
    fingerprints = np.array(
        [(row[0], *row) for row in rows], FINGERPRINT
    )  # nothing is near but what is equal
    by_partition = {}
    for start in range(0, len(rows), chunk):
        for number, part in partition(fingerprints[start : start + chunk], "near"):
            by_partition.setdefault(number, []).append(part)
    return merge_duplicates(map(find_duplicates, by_partition.values()))


def test_hashes_are_the_same_everywhere():
    assert [hash64(text) for text in (b"", b"a", "日本語".encode())] == [
        13020603013274838756,
        3405396810240292928,
        5222810888430230004,
    ]


def test_no_holdout_is_taken_for_a_split_with_files():
    assert held_out(IngestConfig(files="a.tsv")) == {"test": 0.1, "validation": 0.1}
    assert held_out(IngestConfig(files={"train": "a.tsv", "test": "b.tsv"})) == {"validation": 0.1}
    assert held_out(IngestConfig(files="a.tsv", holdout={})) == {}


def test_fractions_are_met_and_order_does_not_matter():
    config = IngestConfig(files="a.tsv", holdout={"validation": 0.2, "test": 0.05})
    turned = IngestConfig(files="a.tsv", holdout={"test": 0.05, "validation": 0.2})
    hashes = [hash64(str(number).encode()) for number in range(20_000)]
    chosen = [choose(text, held_out(config)) for text in hashes]
    assert chosen == [choose(text, held_out(turned)) for text in hashes]
    counts = Counter(chosen)
    assert abs(counts["validation"] / 20_000 - 0.2) < 0.01
    assert abs(counts["test"] / 20_000 - 0.05) < 0.01


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.floats(0.01, 0.45), st.floats(0.01, 0.45))
def test_a_larger_test_fraction_only_adds_to_test(text, smaller, larger):
    smaller, larger = sorted([smaller, larger])
    number = hash64(text.encode())
    if choose(number, {"test": smaller}) == "test":
        assert choose(number, {"test": larger}) == "test"


def test_lengths_and_labels_are_exact():
    made = statistics(
        [
            part("train", [1, 2, 3], ["b", "a", "b"]),
            part("train", [100] + [4] * 16, ["a"] * 17, source=1),
            part("test", [7, 8], ["a", "b"], source=2),
        ]
    )
    assert made["splits"]["train"] == {
        "examples": 20,
        "duplicates": 0,
        "characters": {
            "text": {"min": 1, "mean": 8.5, "median": 4, "p95": 4, "max": 100},
            "label": {"min": 1, "mean": 1.0, "median": 1, "p95": 1, "max": 1},
        },
        "labels": {"a": 18, "b": 2},
    }
    assert made["splits"]["test"]["characters"]["text"] == {
        "min": 7,
        "mean": 7.5,
        "median": 7,
        "p95": 8,
        "max": 8,
    }
    assert made["splits"]["validation"] == {"examples": 0, "duplicates": 0, "characters": {}, "labels": {}}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 1), st.integers(0, 2), st.integers(0, 2)),
        min_size=1,
        max_size=40,
    )
)
def test_duplicates_are_those_that_sets_find(rows):
    rows = [
        (text << 60 | text, text << 60 | label, source, line, split)
        for line, (text, label, source, split) in enumerate(rows)
    ]
    found = duplicates_of(rows)
    texts = {split: {row[0] for row in rows if row[4] == index} for index, split in enumerate(SPLITS)}
    for index, split in enumerate(SPLITS):
        examples = [row[1] for row in rows if row[4] == index]
        assert found.within[split] == len(examples) - len(set(examples))
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        both = texts[one] & texts[other]
        assert found.across[one, other] == len(both)
        first = {
            split: [
                min(row[2:4] for row in rows if row[0] == text and SPLITS[row[4]] == split) for text in both
            ]
            for split in (one, other)
        }
        expected = sorted(zip(first[other], first[one], strict=True))[:3]
        assert [(there, here) for here, there in found.places.get((one, other), [])] == expected


def test_shared_texts_are_reported_with_places():
    parts = [part("train", [1], ["a"], 0), part("test", [1], ["a"], 1)]
    found = duplicates_of([(5, 6, 0, 17, 0), (5, 6, 1, 2, 2), (5, 6, 1, 9, 2), (8, 8, 1, 3, 2)])
    made = statistics(parts, duplicates=found)
    assert made["splits"]["test"]["duplicates"] == 1
    assert made["shared_texts"] == [
        {"splits": ["train", "test"], "texts": 1, "places": [["train.tsv:17", "test.tsv:2"]]}
    ]
    assert (
        "Texts of test that are also in train: 1 (such as test.tsv:2 and train.tsv:17). "
        "What is measured on test will look better than it is." in made["warnings"]
    )


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        ([str(year) for year in range(18, 90)], True),
        ([f"{cents / 100:.2f}" for cents in range(0, 400, 25)], True),
        (["1,5", *(str(number) for number in range(20))], True),
        (["-3.2e4", *(f"+{number}" for number in range(7, 40, 3))], True),
        ([str(number) for number in range(101)], True),
        ([str(number) for number in range(20)], False),  # the numbers of classes
        ([str(number) for number in range(1, 21)], False),
        (["0", "1"], False),
        (["1", "2", "3", "4", "5"], False),
        ([str(number / 2) for number in range(1, 11)], False),  # half stars
        ([str(number) for number in range(11)], False),
        ([*(str(number) for number in range(18, 90)), "unknown"], False),
        ([f"{hour}:00" for hour in range(24)], False),
    ],
)
def test_labels_that_are_numbers(labels, numbers):
    others = [part("test", [1], labels[:1]), part("validation", [1], labels[:1])]
    made = statistics([part("train", [1] * len(labels) * 3, labels * 3), *others])
    found = [warning for warning in made["warnings"] if "look like numbers" in warning]
    assert bool(found) == numbers
    if numbers:
        assert f"({len(labels)} different ones, such as " in found[0]
        assert found[0].endswith("none nearer to another. Bin them if they are amounts.")


def test_warnings():
    assert statistics([part("train", [1, 1], ["a", "a"])])["warnings"] == [
        "There are no validation examples: give `ingest.files.validation` or a fraction in `ingest.holdout`.",
        "There are no test examples: give `ingest.files.test` or a fraction in `ingest.holdout`.",
        "Every train example has the label 'a': nothing can be learnt.",
    ]
    three = [part("train", [1, 1], ["a", "b"]), part("test", [1], ["a"])]
    assert statistics([*three, part("validation", [1] * 7, "zcdefgh")])["warnings"] == [
        "Labels of validation that do not occur in train: 'c', 'd', 'e', 'f', 'g' and others."
    ]
    different = [str(number) for number in range(101)]
    assert statistics([*three, part("train", [1] * 101, different), part("validation", [1], "a")])[
        "warnings"
    ] == ["Different labels in train: 103. Is `label` the right column?"]
    rejections = [Rejections("a.tsv", 0, Counter({"empty text": 2, "not UTF-8": 1}))]
    made = statistics([*three, part("validation", [1], "a")], rejections)
    assert made["rejected"] == {"total": 3, "reasons": {"empty text": 2, "not UTF-8": 1}}
    assert made["warnings"] == ["Rejected records: 3. rejected.jsonl says which and why."]
