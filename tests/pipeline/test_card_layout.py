"""What a card shows first, and what keeps it readable on a telephone and in the dark."""

import re

from made_runs import MadeRun
from test_card import facts

from pipeline.report.pages import card_page

VERDICT = {
    "blessed": False,
    "reasons": ["exact_match 0.8 is under 0.9"],
    "rules": [{"met": False}],
    "champion": "",
    "push": False,
}


def test_the_verdict_comes_first_then_metrics_then_errors_then_the_rest(tmp_path):
    run = MadeRun(tmp_path).make("ingest", "tokenize", "train", "evaluate").end(verdict=VERDICT)
    page = card_page(facts(run))
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[:3] == ["Not blessed, not pushed", "Metrics", "Where it errs"]
    assert headings[-2:] == ["Stages", "Configuration"]
    first = page[: page.index("<h2>Metrics</h2>")]
    text = " ".join(re.sub(r"<[^>]*>", " ", first).split())
    assert re.search(r"exact match 0\.8000 \(0\.\d+ to 0\.\d+\) on 400 examples of the test split", text)
    assert '<li class="bad">exact_match 0.8 is under 0.9</li>' in first


def test_what_is_served_says_so_first(tmp_path):
    verdict = {**VERDICT, "blessed": True, "rules": [{"met": True}]}
    run = MadeRun(tmp_path).make("ingest", "tokenize", "train", "evaluate")
    served = tmp_path / "serving" / "made" / "3"
    page = card_page(facts(run.end(verdict=verdict, served=served)))
    assert re.findall(r"<h2>(.*?)</h2>", page)[:2] == ["Blessed, and served", "Serve it"]


def test_no_style_beside_the_sheet_could_break_the_layout(tmp_path):
    run = MadeRun(tmp_path).make("ingest", "tokenize", "train", "evaluate").end(verdict=VERDICT)
    page = card_page(facts(run))
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    body = page[page.index("<body>") :]
    assert " style=" not in body
    assert " width=" not in body
