"""Every example trains and exports, and as seq2seq models so does every encoder and kind of decoding."""

import itertools
import json
import re
import shutil
from pathlib import Path

import pytest
import tiny

from components import files
from components.artifacts.evaluation import Evaluation
from components.models.encoders import ENCODERS
from components.strict import FIELDS
from pipeline.config import load_config
from pipeline.serving.predict import predict
from pipeline.store.store import Store

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def _beginnings(folder, aligned):
    """The first lines of aligned files."""
    for file in map(Path, aligned.values()):
        lines = file.read_text("utf-8").splitlines(keepends=True)[:100]
        (folder / file.name).write_text("".join(lines), encoding="utf-8")
    return {field: f"{folder}/{Path(file).name}" for field, file in aligned.items()}


def test_every_encoder_has_an_example():
    configs = [load_config(ROOT / "examples" / f"{name}.yaml") for name in EXAMPLES]
    assert {config.model.encoder.type for config in configs} == set(ENCODERS.types)


# The networks that `encoders` compares have examples of their own.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "encoders" else ()) for name in EXAMPLES]
)
def test_an_example_trains_and_exports(name, tmp_path):
    """On data that a test can wait for, and with an epoch."""
    config = load_config(ROOT / "examples" / f"{name}.yaml")
    columns = dict(zip(FIELDS[config.task], ("text", "label"), strict=True))
    if name == "memory_network":  # Its separator is between sentences.
        columns = config.ingest.columns
        for split, file in config.ingest.files.items():
            lines = Path(file).read_text("utf-8").splitlines(keepends=True)[:100]
            (tmp_path / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    else:
        tiny.write_data(tmp_path)
    paths = {split: f"{tmp_path}/{split}.tsv" for split in config.ingest.files}
    if config.ingest.format == "text":
        columns = {}
        paths = {split: _beginnings(tmp_path, aligned) for split, aligned in config.ingest.files.items()}
    overrides = [
        f"ingest.files={paths}",
        f"ingest.columns={columns}",
        f"root={tmp_path}/runs",
        f"export.directory={tmp_path}/serving",
        "train.epochs=1",
        "evaluate.bless=always",
        "tracking.enabled=false",
    ]
    if config.sweep is not None:
        overrides.append("sweep.repeat=1")
    if config.sweep is not None and config.sweep.halving:
        overrides += ["sweep.trials=2", "train.epochs=2", "sweep.halving.reduction_factor=2"]
    code, said = tiny.run(ROOT / "examples" / f"{name}.yaml", *overrides)
    assert code == 0, said
    for tier in ("structure", "replay", "warm-up"):
        assert re.search(rf"{tier} +passed: ", said)
    served = tmp_path / "serving" / config.name / "1"
    (evaluated,) = Store(files.resolve(tmp_path / "runs")).recent(Evaluation)
    rows = list(itertools.islice(evaluated.predictions(), 8))
    moved = tmp_path / "größer 東京" / "in it"
    moved.parent.mkdir()
    shutil.copytree(served, moved)
    answers = [json.loads(answer) for answer in predict(str(moved), [row["input"].encode() for row in rows])]
    assert [answer["prediction"] for answer in answers] == [row["prediction"] for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ENCODERS.types))
def test_an_encoder_trains_and_exports_for_seq2seq(name, tmp_path):
    config = tiny.make(tmp_path, tiny.SEQ2SEQ)
    size = {"text_cnn": "filters: 4", "memory_network": "units: 8, separator: a"}.get(name, "units: 8")
    # The rate of the tiny pipeline would make rectified units explode on long texts.
    overrides = [
        f"model.encoder={{type: {name}, {size}}}",
        "train.epochs=1",
        "train.optimizer.learning_rate=0.002",
    ]
    if name == "memory_network":
        overrides.append(
            "tokenize={source: {type: characters, truncation_side: left}, target: {type: characters}}"
        )
    code, said = tiny.run(config, *overrides)
    assert code == 0, said
    assert (tmp_path / "serving" / "copy" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(
            [
                "model.attention={type: monotonic, score_bias: -1.0}",
                "model.memory={type: memory_network, hops: 2}",
                "decode={sample: true, top_p: 0.9, coverage_penalty: 0.2, n_best: 2, max_decoding_length: 4}",
            ],
            id="monotonic attention and a memory, sampling",
        ),
        pytest.param(
            [
                "model.attention={type: hard, estimator: straight_through}",
                "model.decoder={type: clockwork_rnn, units: 8, periods: [1, 2], num_layers: 2,"
                " residual: true}",
                "decode={prefix: a, min_length: 2, max_decoding_length: 4, no_repeat_ngram_size: 3}",
            ],
            id="hard attention and a clockwork RNN, a prefix",
        ),
        pytest.param(
            [
                "model.attention={type: luong, score: concat, window: 2}",
                "model.decoder={type: lstm, units: 8, input_feeding: true, encoder_residual: true}",
                "model.tied_softmax=true",
                "decode={num_beam_groups: 2, diversity_penalty: 1.0, length_normalization: average,"
                " max_decoding_length: 4}",
            ],
            id="local attention and input feeding, diverse groups",
        ),
    ],
)
def test_a_decoder_trains_and_exports(overrides, tmp_path):
    config = tiny.make(tmp_path, tiny.SEQ2SEQ)
    code, said = tiny.run(config, "train.epochs=1", "train.optimizer.learning_rate=0.002", *overrides)
    assert code == 0, said
    assert (tmp_path / "serving" / "copy" / "1" / "saved_model.pb").is_file()
