import json
from pathlib import Path

import pytest
from ingest_cases import ALL, examples, ingest, kept, rejected

from components.evaluate.answers import Answers
from components.evaluate.measure import Measure
from components.evaluate.measured import Measured
from components.text import to_label

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "label", "reason"),
    [
        (DECOMPOSED, COMPOSED, ""),
        ("\u00a0 a b\u3000\n", "a b", ""),
        ("a\u200db", "a\u200db", ""),  # joins letters in Persian and parts of emoji
        ("a\0", "", "label with the control character U+0000"),
        ("\0a", "", "label with the control character U+0000"),
        ("a\tb", "", "label with the control character U+0009"),
        ("a\x7fb", "", "label with the control character U+007F"),
        ("a\x9fb", "", "label with the control character U+009F"),
        ("a\nb", "", "label of several lines"),
        ("a\u2028b", "", "label of several lines"),
    ],
)
def test_labels_have_one_spelling_or_a_reason_why_not(text, label, reason):
    assert to_label(text) == (label, reason)


@pytest.mark.parametrize("kind", ["jsonl", "tsv"])
def test_ingest_writes_labels_and_kept_values_in_one_spelling(folder, kind):
    rows = [("eins", COMPOSED, "é"), ("zwei", f" {DECOMPOSED}", "e\u0301"), ("drei", "x\0", "y")]
    lines = {
        "jsonl": [json.dumps(dict(zip(("text", "label", "by"), row, strict=True))) for row in rows],
        "tsv": ["text\tlabel\tby", *map("\t".join, rows)],
    }[kind]
    Path(f"a.{kind}").write_text("\n".join(lines) + "\n")
    made = ingest({"files": f"a.{kind}", "keep": {"writer": "by"}, "max_rejected": 1, **ALL})
    assert examples(made) == [("eins", COMPOSED), ("zwei", COMPOSED)]
    assert kept(made, "writer") == ["é", "é"]
    assert [row[2] for row in rejected(made)] == ["label with the control character U+0000"]
    assert made.statistics()["splits"]["train"]["labels"] == {COMPOSED: 2}


def test_texts_are_read_as_they_stand(folder):
    Path("a.tsv").write_text(f"text\tlabel\n \0{DECOMPOSED}\tx\n")
    assert examples(ingest({"files": "a.tsv", **ALL})) == [(f" \0{DECOMPOSED}", "x")]


def measured(targets, predictions):
    combiner = Measure(["accuracy", "macro_f1"], 0)
    answers = Answers.of(["x"] * len(targets), targets, predictions)
    return combiner.extract_output(combiner.add_input(combiner.create_accumulator(), answers))["metrics"]


@pytest.mark.parametrize("end", ["\0", "\0\0", "x"])
def test_macro_f1_keeps_labels_apart_that_differ_in_their_last_character(end):
    targets, predictions = ["a", "a", "b", "b", "b"], ["a", f"a{end}", f"b{end}", "b", "b"]
    # F1 of a and b: 2/3 and 4/5; of the two that are only predicted: 0.
    assert measured(targets, predictions) == pytest.approx({"accuracy": 0.6, "macro_f1": (2 / 3 + 4 / 5) / 4})


def test_a_slice_is_found_in_either_spelling():
    report = {"slices": {"label": {COMPOSED: {}, "tea": {}}}}
    for spelled in (COMPOSED, DECOMPOSED):
        assert Measured(report, {}).places(f"label={spelled}") == [("label", COMPOSED)]
