"""What `auto` became is told to people and to MLflow; the key only knows `auto`."""

import json

from made_runs import MadeRun

from pipeline.report.compare import compare
from pipeline.report.facts import find_runs
from pipeline.report.pages import card_page
from pipeline.stages import stage_named

CHOSEN = {
    "source": {
        "settings": {"type": "words", "max_sequence_length": 32, "vocabulary_size": 20_000},
        "why": "words, at most 32 tokens: 95 % of the sources have at most <30>",
    }
}


class _Chosen(MadeRun):
    def _tokenize(self, attempt):
        return [attempt.put("statistics.json", b"{}")], {"vocabulary": {"source": 9}, "chosen": CHOSEN}


def test_the_terminal_the_card_and_mlflow_say_what_was_chosen(tmp_path):
    made = _Chosen(tmp_path).make("ingest", "tokenize")
    made.end()
    stage, artifact = stage_named("tokenize"), made.made("tokenize")
    assert stage.details(artifact.summary) == [f"source: {CHOSEN['source']['why']}"]
    params = stage.log(artifact).params
    assert params["chosen.tokenize.source.type"] == "words"
    assert params["chosen.tokenize.source.max_sequence_length"] == 32
    (run,) = find_runs(tmp_path, [made.id])
    assert "95 % of the sources have at most &lt;30&gt;" in card_page(run)
    assert json.loads(json.dumps(run.record.node("tokenize").summary["chosen"])) == CHOSEN


def test_a_comparison_shows_what_it_became(tmp_path):
    written = {"source": {"type": "words", "max_sequence_length": 64}}
    runs = [
        _Chosen(tmp_path, "a", config={"tokenize": {"source": {"type": "auto"}}}),
        MadeRun(tmp_path, "b", data="other", config={"tokenize": written}),
    ]
    for run in runs:
        run.make("ingest", "tokenize")
        run.end()
    differing = compare(find_runs(tmp_path, [run.id for run in runs])).parameters
    assert "tokenize.source.type" not in differing
    assert differing["tokenize.source.max_sequence_length"] == ["32", "64"]
    assert differing["tokenize.source.vocabulary_size"] == ["20000", ""]
