"""Texts of train with several labels: counted, named, and listed as a file to act on."""

import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_cases import ALL, ingest

from components.ingest import conflicts as module
from components.ingest.conflicts import find_conflicts, merge_conflicts
from components.ingest.duplicates import FINGERPRINT, partition, rows_of

ODD = "<b>\u202e שלום\u200d &amp; 'quoted' \\ \U0001f600</b>"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, rows):
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_every_text_with_several_labels_is_listed_with_their_places():
    write(
        "a.jsonl", [("same", "x"), (ODD, "x"), ("once", "x"), ("same", "y"), ("twice", "z"), ("twice", "z")]
    )
    write("b.jsonl", [("same", "y"), (ODD, " z "), ("Once", "y"), ("x" * 2000, "x"), ("x" * 2000, "y")])
    write("t.jsonl", [("once", "y"), ("test", "x"), ("test", "y")])
    made = ingest({"files": {"train": ["a.jsonl", "b.jsonl"], "test": "t.jsonl"}, **ALL})
    assert list(made.conflicts()) == [
        {
            "text": "same",
            "examples": 3,
            "labels": [
                {"label": "y", "examples": 2, "places": ["a.jsonl:4", "b.jsonl:1"]},
                {"label": "x", "examples": 1, "places": ["a.jsonl:1"]},
            ],
        },
        {
            "text": ODD,
            "examples": 2,
            "labels": [
                {"label": "x", "examples": 1, "places": ["a.jsonl:2"]},
                {"label": "z", "examples": 1, "places": ["b.jsonl:2"]},
            ],
        },
        {
            "text": "x" * 999 + "…",
            "examples": 2,
            "labels": [
                {"label": "x", "examples": 1, "places": ["b.jsonl:4"]},
                {"label": "y", "examples": 1, "places": ["b.jsonl:5"]},
            ],
        },
    ]
    assert made.statistics()["conflicts"] == {"texts": 3, "examples": 7}
    (warning,) = [warning for warning in made.summary["warnings"] if "several labels" in warning]
    assert warning.startswith("Texts of train that have several labels: 3, with 7 examples.")
    assert "conflicts.jsonl has their labels, files and lines" in warning


def test_the_list_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(module, "LISTED", 5)
    monkeypatch.setattr(module, "_PLACES", 2)
    write("a.jsonl", [(f"text {place % 20}", "xy"[place // 60]) for place in range(120)])
    made = ingest({"files": {"train": "a.jsonl"}, **ALL})
    rows = list(made.conflicts())
    assert [row["text"] for row in rows] == [f"text {place}" for place in range(5)]
    assert [label["examples"] for label in rows[0]["labels"]] == [3, 3]
    assert rows[0]["labels"][0]["places"] == ["a.jsonl:1", "a.jsonl:21"]
    assert made.statistics()["conflicts"] == {"texts": 20, "examples": 120}
    assert any("conflicts.jsonl (the first 5 of them)" in warning for warning in made.summary["warnings"])


def test_without_any_there_is_no_file_and_no_warning():
    write("a.jsonl", [("a", "x"), ("a", "x"), ("A", "y"), ("b", "y")])
    made = ingest({"files": {"train": "a.jsonl"}, **ALL})
    assert list(made.conflicts()) == []
    assert not made.has("conflicts.jsonl")
    assert made.statistics()["conflicts"] == {"texts": 0, "examples": 0}
    assert not any("several labels" in warning for warning in made.summary["warnings"])


def test_several_translations_of_a_text_are_no_conflict():
    Path("a.tsv").write_text("source\ttarget\na\tx\na\ty\n", encoding="utf-8")
    made = ingest({"files": {"train": "a.tsv"}, **ALL}, task="seq2seq")
    assert not made.has("conflicts.jsonl")
    assert "conflicts" not in made.statistics()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=40), st.integers(1, 7))
def test_conflicts_are_those_that_sets_find(examples, chunk):
    rows = [(text, text, 7 * text + label, 0, line, 0) for line, (text, label) in enumerate(examples, 1)]
    by_number = defaultdict(list)
    for start in range(0, len(rows), chunk):
        for number, part in partition(rows_of(rows[start : start + chunk], FINGERPRINT), "near"):
            by_number[number].append(part)
    found = merge_conflicts(find_conflicts(np.concatenate(parts)) for parts in by_number.values())
    labels = defaultdict(set)
    for text, label in examples:
        labels[text].add(label)
    bad = {text for text, of_text in labels.items() if len(of_text) > 1}
    assert found.texts == len(bad)
    assert found.examples == sum(text in bad for text, _ in examples)
    assert [conflict.text for conflict in found.listed] == [
        text for text in dict.fromkeys(text for text, _ in examples) if text in bad
    ]
    counted = Counter(7 * text + label for text, label in examples if text in bad)
    answers = itertools.chain.from_iterable(conflict.answers.items() for conflict in found.listed)
    assert {example: count for example, (count, _) in answers} == counted
