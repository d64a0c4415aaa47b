"""Encoders, decoders, attentions, tokenizers and metrics from modules of the user's."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import own_modules
import pytest
import tiny
from rich.console import Console

from components import files
from components.artifacts.evaluation import Evaluation
from components.plugin_sources import plugin_sources
from pipeline.config import ConfigError, config_schema, load_config
from pipeline.report.compare import compare
from pipeline.report.compare_text import comparison_text
from pipeline.report.facts import find_runs
from pipeline.report.pages import card_page
from pipeline.serving.predict import predict
from pipeline.store.store import Store

ENCODER = "model.encoder={type: my_encoders:MGUEncoder, units: 8, bidirectional: true}"
METRIC = "my_metrics:sure_mistakes"
MEASURED = (
    f"evaluate={{metrics: [accuracy], slices: [label], bless: {{{METRIC}: {{max: 0.9, max_regression: 0.5,"
    " slices: {label: {max: 0.95}}}}}"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    own_modules.forget(monkeypatch)
    monkeypatch.chdir(tmp_path)
    own_modules.write(tmp_path)
    return tmp_path


def test_from_a_module_beside_the_configuration_to_a_served_model(folder):
    config = tiny.make(folder)
    code, said = tiny.run(config, ENCODER, MEASURED)
    assert code == 0, said
    # A metric of scores has no floor.
    assert re.search(rf"accuracy 1\.0000 \(majority [0-9.]+\), {METRIC} 0\.0000 on 40 examples", said), said
    served = folder / "serving" / "letters"
    (answer,) = predict(str(served), [b"bbb9999"])
    assert json.loads(answer)["prediction"] == "b"
    (evaluated,) = Store(files.resolve(folder / "runs")).recent(Evaluation)
    report = evaluated.report()
    assert report["intervals"][METRIC] == [0.0, 0.0]
    assert report["smaller_is_better"] == [METRIC]
    assert [each["metrics"][METRIC] for each in report["slices"]["label"].values()] == [0.0, 0.0, 0.0]
    (run,) = find_runs(folder / "runs")
    reasons = run.record.verdict["reasons"]
    assert any(reason.startswith(f"{METRIC} in label=b 0 <= 0.95 (max)") for reason in reasons), reasons
    assert METRIC in card_page(run)


@pytest.mark.slow
def test_in_worker_processes_and_beside_a_champion(folder):
    """The workers know nothing but the working directory."""
    config = tiny.make(folder)
    command = [sys.executable, "-m", "pipeline", "run", str(config)]
    for override in (ENCODER, MEASURED, "runner={type: processes}"):
        command += ["--set", override]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{METRIC} 0.0000" in ran.stdout
    code, said = tiny.run(config, ENCODER, MEASURED, "seed=3", "train.epochs=1")
    assert code == 0, said
    runs = find_runs(folder / "runs", [], 2)
    reasons = [each for run in runs for each in run.record.verdict["reasons"]]
    assert any(reason.startswith(f"{METRIC} 0 beside 0 of ") for reason in reasons), reasons
    table = Console(width=200, record=True, file=io.StringIO())
    table.print(comparison_text(compare(runs)))
    assert METRIC in table.export_text()


def problems(config, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_config(config, overrides)
    found = caught.value.problems
    for override in overrides:
        found = [each.removeprefix(f"--set {override}: ") for each in found]
    return found


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        (
            "{type: my_encoders:MGUEncoder, unit: 8}",
            "model.encoder.unit: unknown key; did you mean 'units'? known: type, units, num_layers, dropout,"
            " bidirectional, residual, start",
        ),
        (
            "{type: my_encoders:MGUEncoder, units: '8'}",
            "model.encoder.units: received '8', expected a whole number above 0; remove the quotes",
        ),
        (
            "{type: my_encoders:MGUEncoder, start: zero}",
            "model.encoder.start: received 'zero', expected 'zeros'; did you mean 'zeros'?",
        ),
        (
            "{type: my_encoder:MGUEncoder}",
            "model.encoder.type: received 'my_encoder:MGUEncoder', but there is no module my_encoder in"
            " {here} or on Python's path; did you mean 'my_encoders'?",
        ),
        (
            "{type: my_encoders:MGUEncodr}",
            "model.encoder.type: received 'my_encoders:MGUEncodr', but my_encoders ({here}/my_encoders.py)"
            " has no MGUEncodr; did you mean 'my_encoders:MGUEncoder'?",
        ),
        (
            "{type: 'my_metrics:sure_mistakes'}",
            "model.encoder.type: received 'my_metrics:sure_mistakes', which is of the type MetricInfo,"
            " expected a class derived from components.models.encoders.EncoderConfig",
        ),
        (
            "{type: 'my_encoders:'}",
            "model.encoder.type: received 'my_encoders:', expected a module and a name in it, such as"
            " my_module:MyClass",
        ),
    ],
)
def test_mistakes_in_an_encoder_of_ones_own(folder, encoder, expected):
    assert problems(tiny.make(folder), f"model.encoder={encoder}") == [expected.format(here=folder)]


def test_what_an_encoder_says_of_itself_is_checked_with_the_rest(folder):
    config = tiny.make(folder, tiny.SEQ2SEQ)
    found = problems(config, ENCODER, "model.attention={type: luong, score: dot}", "model.bridge=copy")
    assert found == [
        "model.attention.score: received 'dot' for an encoder of width 16 and a decoder of width 8, expected"
        " equal widths; make them so, or set score to general",
        "model.bridge: received 'copy' of 1 x 1 states of width 16 to 1 x 1 states of width 8, expected the"
        " same of both; make layers and units alike, or set bridge to dense",
    ]
    overrides = ["model.readout={type: ridge}", ENCODER]
    assert problems(tiny.make(folder), *overrides) == [
        "model.readout: received a closed form for encoder my_encoders:MGUEncoder, which would stay"
        " untrained; remove it, or set encoder.type to echo_state_rnn"
    ]


@pytest.mark.parametrize(
    ("evaluate", "expected"),
    [
        (
            "{metrics: [my_metric:sure_mistakes]}",
            "evaluate.metrics.0: received 'my_metric:sure_mistakes', but there is no module my_metric in"
            " {here} or on Python's path; did you mean 'my_metrics'?",
        ),
        (
            "{metrics: [my_metrics:SureMistakes]}",
            "evaluate.metrics.0: received 'my_metrics:SureMistakes', which is a class, expected a"
            " components.evaluate.metrics.MetricInfo",
        ),
        (
            "{bless: {my_metrics:sure: {max: 0.1}}}",
            "evaluate.bless.my_metrics:sure: received 'my_metrics:sure', but my_metrics"
            " ({here}/my_metrics.py) has no sure",
        ),
        (
            "{bless: {my_metrics:sure_mistakes: {maximum: 0.1}}}",
            "evaluate.bless.my_metrics:sure_mistakes.maximum: unknown key; did you mean 'max'? known: min,"
            " max, max_regression, max_forgetting, slices",
        ),
        (
            "{bless: {my_metrics:sure_mistakes: {max: 90}}}",
            "evaluate.bless: has max 90 for my_metrics:sure_mistakes, expected a number from 0 to 1, the"
            " metric's range; my_metrics:sure_mistakes is a fraction: 90 % is written 0.9",
        ),
    ],
)
def test_mistakes_in_a_metric_of_ones_own(folder, evaluate, expected):
    assert problems(tiny.make(folder), f"evaluate={evaluate}") == [expected.format(here=folder)]


def test_a_metric_of_ones_own_must_fit_the_task(folder):
    config = tiny.make(folder, tiny.SEQ2SEQ)
    (found,) = problems(config, f"evaluate={{metrics: ['{METRIC}']}}")
    assert found.startswith(f"evaluate.metrics.0: '{METRIC}' does not fit seq2seq; expected 'exact_match'")


def test_what_is_taken_from_modules_is_part_of_the_keys(folder):
    config = load_config(tiny.make(folder), [ENCODER, MEASURED])
    before = plugin_sources(config)
    assert list(before) == ["my_encoders:MGUEncoder", METRIC]
    assert list(plugin_sources(config.model)) == ["my_encoders:MGUEncoder"]
    assert list(plugin_sources(config.evaluate)) == [METRIC]
    layers = folder / "my_layers.py"
    layers.write_text(layers.read_text("utf-8") + "\n# changed\n", "utf-8")
    after = plugin_sources(config)
    assert after[METRIC] == before[METRIC]
    assert after["my_encoders:MGUEncoder"] != before["my_encoders:MGUEncoder"]


OTHERS = '''\
from components.models.attentions import AttentionConfig
from components.models.decoders import DecoderConfig
from components.tokenize.config import TokenizerConfig


class Attention(AttentionConfig):
    """Bahdanau's, half as wide as the decoder."""

    def attention(self, decoder_units):
        from layers import BahdanauAttention

        return BahdanauAttention(decoder_units // 2, name="attention")


class Decoder(DecoderConfig):
    """Minimal gated units."""

    def cell(self):
        from my_layers import MGUCell

        return MGUCell(self.units)


class Tokenizer(TokenizerConfig):
    """Every letter for itself, digits left out."""

    vocabulary_size: int = 100
    """At most this many tokens."""
    min_count: int = 1
    """Rarer ones become the unknown token."""

    def tokenizer(self):
        from my_tokenizers import Letters

        return Letters
'''
LETTERS = """\
import tensorflow as tf

from components.tokenize.tokenizers import CharacterTokenizer


class Letters(CharacterTokenizer):
    @classmethod
    def prepare(cls, texts, config):
        return tf.strings.regex_replace(super().prepare(texts, config), "[0-9]", "")
"""


def test_a_decoder_an_attention_and_a_tokenizer_of_ones_own(folder):
    (folder / "my_others.py").write_text(OTHERS, "utf-8")
    (folder / "my_tokenizers.py").write_text(LETTERS, "utf-8")
    overrides = [
        "train.epochs=1",
        "model.attention={type: my_others:Attention}",
        "model.decoder={type: my_others:Decoder, units: 8, num_layers: 2}",
        "tokenize={source: {type: my_others:Tokenizer}, target: {type: characters}}",
    ]
    code, said = tiny.run(tiny.make(folder, tiny.SEQ2SEQ), *overrides)
    assert code == 0, said
    assert "source vocabulary 7" in said  # a, b, c and four special tokens
    (answer,) = predict(str(folder / "serving" / "copy"), [b"bbb9999"])
    assert set(json.loads(answer)) == {"input", "prediction", "score"}


def test_the_schema_takes_any_keys_with_a_type_of_ones_own(folder):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(config_schema())
    data = load_config(tiny.make(folder)).model_dump(mode="json")
    assert validator.is_valid(data)
    for kind, sound in (
        ({"type": "my_encoders:MGUEncoder", "anything": [1]}, True),
        ({"type": "gru", "anything": [1]}, False),
        ({"type": "my encoders", "anything": [1]}, False),
        ({"type": "gru"}, True),
    ):
        assert validator.is_valid({**data, "model": {**data["model"], "encoder": kind}}) is sound
    for metric, sound in ((METRIC, True), ("accuracy", True), ("accuracies", False)):
        evaluate = {"metrics": [metric], "bless": {metric: {"min": 0.1}}}
        assert validator.is_valid({**data, "evaluate": evaluate}) is sound


def test_reading_a_configuration_imports_no_keras(folder):
    config = tiny.make(folder)
    code = (
        "import sys; from pathlib import Path; from pipeline.config import load_config;"
        f"load_config(Path({str(config)!r}), [{ENCODER!r}]);"
        "print([name for name in ('keras', 'tensorflow', 'numpy', 'apache_beam') if name in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stderr
