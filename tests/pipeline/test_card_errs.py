"""What a card shows of wrong answers, whatever the texts and labels are."""

import io
import json
import re

import pytest
from browser import needs_chromium, shown
from made_runs import MadeRun
from rich.console import Console
from test_card import facts

from pipeline.report.pages import card_page
from pipeline.run.console import RunDisplay

HOSTILE = "<script>alert('x')</script>\u202e שלום \"&\""
LONG = "Donaudampfschifffahrtsgesellschaft" * 12
ERRS = {
    "confused": [
        {
            "expected": HOSTILE,
            "predicted": LONG,
            "examples": 1234,
            "answers": [
                {"example": 7, "input": HOSTILE, "score": 0.99},
                {"example": 9, "input": LONG, "score": None},
            ],
        }
    ],
    "worst_slices": {
        "metric": "accuracy",
        "looked_at": 24,
        "slices": [
            {
                "column": "topic",
                "value": HOSTILE,
                "examples": 84,
                "metric": 0.71,
                "interval": [0.61, 0.8],
                "elsewhere": 0.9,
            }
        ],
    },
    "attended": [
        {
            "example": 7,
            "target": HOSTILE,
            "prediction": "y",
            "tokens": [HOSTILE, "b", LONG],
            "weights": [0.0, 0.25, 0.75],
            "left_out": 3,
        },
        {"example": 9, "tokens": [], "weights": [], "left_out": 0},
    ],
}

CONFLICT = {
    "text": HOSTILE,
    "examples": 5,
    "labels": [
        {"label": "<i>", "examples": 4, "places": ["a.tsv:1", "a.tsv:2", "a.tsv:3", "a.tsv:4"]},
        {"label": "y", "examples": 1, "places": ["b.tsv:9"]},
    ],
}


class Erring(MadeRun):
    """A run of a classifier whose report says where it errs."""

    conflicts = {"texts": 3456, "examples": 7890}  # noqa: RUF012

    def _ingest(self, attempt):
        made, summary = super()._ingest(attempt)
        statistics = json.loads(attempt.path("statistics.json").read_bytes())
        statistics["conflicts"] = self.conflicts
        named = [file for file in made if file.name != "statistics.json"]
        lines = (json.dumps(CONFLICT) + "\n").encode()
        put = [attempt.put("statistics.json", json.dumps(statistics).encode())]
        return [*named, *put, attempt.put("conflicts.jsonl", lines)], summary

    def _evaluate(self, attempt):
        made, summary = super()._evaluate(attempt)
        report = json.loads(attempt.path("metrics.json").read_bytes())
        named = [file for file in made if file.name != "metrics.json"]
        return [*named, attempt.put("metrics.json", json.dumps({**report, **ERRS}).encode())], summary


@pytest.fixture
def page(tmp_path):
    run = Erring(tmp_path, config={"task": "classification"})
    return card_page(facts(run.make("ingest", "tokenize", "train", "evaluate").end()))


def test_confusions_open_without_a_script_and_are_escaped(page):
    assert "<script" not in page
    (cell,) = re.findall(r"<details>\s*<summary><strong.*?</details>", page, re.DOTALL)
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in cell
    assert "1,234</summary>" in cell
    assert cell.count("<tr><td") == 2


def test_the_worst_slices_say_how_many_were_looked_at(page):
    text = " ".join(re.sub(r"<[^>]*>", " ", page[page.index("The worst slices") :]).split())
    assert "84 0.7100 0.6100 to 0.8000 0.9000" in text
    assert "24 slices of 20 or more examples were looked at; these are worse" in text


def test_texts_with_several_labels_are_shown_with_their_places(page, tmp_path):
    section = page[page.index("<h2>Texts with several labels</h2>") :]
    text = " ".join(re.sub(r"<[^>]*>", " ", section).split())
    assert "The first 1 of 3,456 texts of train, with 7,890 examples." in text
    (place,) = re.findall(r"of the first 2,000: (\S+/conflicts\.jsonl)", text)
    assert json.loads((tmp_path / place).read_text()) == CONFLICT
    assert "&lt;i&gt;: 4 (a.tsv:1, a.tsv:2, a.tsv:3, …) y: 1 (b.tsv:9)" in text


def test_a_list_that_is_shown_whole_is_not_called_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(Erring, "conflicts", {"texts": 1, "examples": 5})
    page = card_page(facts(Erring(tmp_path, config={"task": "classification"}).make("ingest").end()))
    section = page[page.index("<h2>Texts with several labels</h2>") :]
    text = " ".join(re.sub(r"<[^>]*>", " ", section).split())
    assert "1 text of train, with 5 examples. The list with files and lines: " in text
    assert "The first" not in text


def test_the_terminal_says_where_the_lists_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Erring(tmp_path / "runs", config={"task": "classification"}).make("ingest")
    said = io.StringIO()
    RunDisplay(Console(file=said, width=80)).show(run.record())
    assert [name for name, _ in re.findall(r"(\S+): (runs/\S+\.jsonl)", said.getvalue())] == [
        "rejected.jsonl",
        "conflicts.jsonl",
    ]
    for place in re.findall(r": (runs/\S+)", said.getvalue()):
        assert (tmp_path / place).read_bytes()


def test_tokens_are_coloured_by_their_weight(page):
    colours = re.findall(r'<span class="w(\d)" title="([\d.]+)">', page)
    assert colours == [("0", "0.000"), ("3", "0.250"), ("9", "0.750")]
    text = " ".join(re.sub(r"<[^>]*>", "", page[page.index("What it looked at") :]).split())
    assert "7: expected &lt;script&gt;" in text
    assert ", answered y" in text


def test_a_count_of_the_confusion_matrix_leads_to_its_examples(tmp_path, monkeypatch):
    cell = {"expected": "ab", "predicted": "xy", "examples": 80, "answers": ERRS["confused"][0]["answers"]}
    monkeypatch.setitem(ERRS, "confused", [*ERRS["confused"], cell])
    run = Erring(tmp_path, config={"task": "classification"})
    page = card_page(facts(run.make("ingest", "tokenize", "train", "evaluate").end()))
    assert re.findall(r'<a href="#(.*?)">(.*?)</a>', page) == [("confused-2", "80")]
    opened = page[page.index('id="confused-2"') :]
    assert opened.index("</details>") < opened.index("<details")
    assert '<td class="number best">320</td>' in page


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page, tmp_path, width):
    (tmp_path / "card.html").write_text(page, encoding="utf-8")
    assert shown(tmp_path / "card.html", width, tmp_path) == (width, width, 0)
