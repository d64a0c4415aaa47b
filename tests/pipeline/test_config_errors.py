"""Every kind of mistake in a configuration, with its exact line and wording."""

import os
from pathlib import Path

import pytest

from components.evaluate.metrics import metric_names
from pipeline.config import ConfigError, load_config
from pipeline.config.problems import quoted

# Line numbers matter: the tests below put their lines in front of, or in place of, these.
CLASSIFICATION = """\
name: tiny
task: classification
ingest:
  files: {train: train.tsv}
model:
  encoder:
    type: gru
    units: 8
"""
SEQ2SEQ = CLASSIFICATION.replace("classification", "seq2seq")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.tsv").touch()


def problems(text: str | bytes, *overrides: str) -> list[str]:
    Path("run.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(Path("run.yaml"), overrides)
    return caught.value.problems


BESIDE = "the name of a file that is written beside the models; expected another"
CLAIMS = "but what ends in .rnnpipe is written beside the models; expected another"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("models.config", f"name: received 'models.config', {BESIDE}"),
        ("batching.config", f"name: received 'batching.config', {BESIDE}"),
        ("monitoring.config", f"name: received 'monitoring.config', {BESIDE}"),
        ("docker-compose.yaml", f"name: received 'docker-compose.yaml', {BESIDE}"),
        ("Models.Config", f"name: received 'Models.Config', {BESIDE}"),
        ("dates.rnnpipe", f"name: received 'dates.rnnpipe', {CLAIMS}"),
        ("x" * 300, "name: received 300 characters, expected at most 200"),
    ],
)
def test_a_name_that_cannot_stand_beside_what_we_write(name: str, expected: str):
    assert problems(CLASSIFICATION.replace("tiny", name)) == [f"run.yaml:1: {expected}"]
    (problem,) = problems(CLASSIFICATION, f"name={name}")
    assert problem.startswith(f"--set name={name[:40]}")
    assert problem.endswith(f": {expected}")


@pytest.mark.parametrize(
    ("name", "root", "directory"),
    [
        ("runs", "runs", "."),
        ("artifacts", "all", "all"),
        ("runs", "s3://bucket/all/", "s3://bucket/all"),
        ("models", "all", "all/runs"),
    ],
)
def test_versions_do_not_stand_among_artifacts_and_runs(name: str, root: str, directory: str):
    (problem,) = problems(CLASSIFICATION, f"name={name}", f"root={root}", f"export.directory={directory}")
    assert f"name: received '{name}', but {directory}/{name}, where its versions would be, holds" in problem


@pytest.mark.parametrize(
    "overrides", [("name=runs",), ("root=all", "export.directory=all"), ("name=" + "x" * 200,)]
)
def test_names_that_meet_nothing(overrides: tuple[str, ...]):
    Path("run.yaml").write_text(CLASSIFICATION)
    load_config(Path("run.yaml"), overrides)


@pytest.mark.parametrize(("experiment", "count"), [("x" * 401, 401), ("' '", 1)])
def test_an_experiment_that_mlflow_would_not_take(experiment: str, count: int):
    (problem,) = problems(CLASSIFICATION, f"tracking.experiment={experiment}")
    expected = f"tracking.experiment: received {count} characters, expected 1 to 400, not only spaces"
    assert problem.endswith(expected)


def test_the_base_of_these_tests_is_sound():
    Path("run.yaml").write_text(CLASSIFICATION)
    load_config(Path("run.yaml"))
    load_config(Path("run.yaml"), ["task=seq2seq"])


ENCODER_WORDS = (
    "'simple_rnn', 'gru', 'lstm', 'identity_rnn', 'clockwork_rnn', 'echo_state_rnn', 'cnn_lstm', 'text_cnn',"
    " 'tfidf', 'memory_network' or 'my_module:MyEncoder'"
)
TRAIN_KEYS = (
    "epochs, batch_size, optimizer, learning_rate_schedule, global_clipnorm, loss, class_weight,"
    " label_smoothing, teacher_forcing_ratio, validate_every, monitor, early_stopping, shuffle_buffer,"
    " init_from, length_buckets, precision, deterministic, devices, resources"
)
OPTIMIZERS = quoted(
    ["adam", "adamw", "nadam", "adamax", "adagrad", "adadelta", "rmsprop", "sgd", "lion", "lamb"]
)
ADAM_KEYS = "type, learning_rate, weight_decay, epsilon, beta_1, beta_2, amsgrad"
LABEL_METRICS, TEXT_METRICS = metric_names("classification"), metric_names("seq2seq")
METRIC_NAMES = [*LABEL_METRICS, *TEXT_METRICS, "my_module:my_metric"]
METRIC_WORDS = quoted(METRIC_NAMES)


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("train: {epoch: 5}", f"9: train.epoch: unknown key; did you mean 'epochs'? known: {TRAIN_KEYS}"),
        ("train:\n  EPOCHS: 5", f"10: train.EPOCHS: unknown key; did you mean 'epochs'? known: {TRAIN_KEYS}"),
        ("train: {zzz: 5}", f"9: train.zzz: unknown key; known: {TRAIN_KEYS}"),
        (
            "train: {learning_rate: 5}",
            f"9: train.learning_rate: unknown key; it belongs to train.optimizer; known: {TRAIN_KEYS}",
        ),
        (
            "train: {optimizer: {type: adam, nesterov: true}}",
            f"9: train.optimizer.nesterov: unknown key; it belongs to type 'sgd'; known: {ADAM_KEYS}",
        ),
        (
            'train: {batch_size: "128"}',
            "9: train.batch_size: received '128', expected a whole number of at least 1; remove the quotes",
        ),
        (
            "train: {epochs: 5.0}",
            "9: train.epochs: received 5.0, expected a whole number of at least 1 or null",
        ),
        (
            "train: {epochs: true}",
            "9: train.epochs: received true, expected a whole number of at least 1 or null",
        ),
        ("train: {epochs: 0}", "9: train.epochs: received 0, expected a whole number of at least 1 or null"),
        (
            "train: {batch_size: }",
            "9: train.batch_size: received nothing, expected a whole number of at least 1",
        ),
        (
            "train: {global_clipnorm: [1]}",
            "9: train.global_clipnorm: received a list, expected a number above 0 or null",
        ),
        (
            "train: {global_clipnorm: .inf}",
            "9: train.global_clipnorm: received .inf, expected a finite number",
        ),
        (
            'root: "a\\0b"',
            "9: root: received text with a NUL character, which nothing here can hold",
        ),
        ("train: {global_clipnorm: !!float x}", "9: train.global_clipnorm: 'x' is no float"),
        ("tracking: {enabled: !!bool x}", "9: tracking.enabled: 'x' is no bool"),
        ("tracking: {enabled: yes}", "9: tracking.enabled: received 'yes', expected true or false"),
        (
            "tracking: {enabled: 'true'}",
            "9: tracking.enabled: received 'true', expected true or false; remove the quotes",
        ),
        ("root: 7", "9: root: received 7, expected text; put it in quotes"),
        ("root: {a: 1}", "9: root: received a mapping, expected text"),
        (
            f"root: !!python/name:os.system {'x' * 90}",
            "9: root: received the tag tag:yaml.org,2002:python/name:os.system, expected plain values",
        ),
        (
            "tracking:",
            "9: tracking: received nothing, expected a mapping with the keys enabled, uri and experiment",
        ),
        ("seed: 1\nseed: 2", "10: seed: written twice; keep one"),
        (
            "evaluate: {metrics: &it [*it]}",
            "9: evaluate.metrics.0: an alias of the very value it is in; write the value out",
        ),
        ("export:\n  ? [a]\n  : b", "10: export: received a list or a mapping as a key, expected a word"),
        (
            "train:\n  optimizer: {type: adm}",
            f"10: train.optimizer.type: received 'adm', expected {OPTIMIZERS}; did you mean 'adam'?",
        ),
        (
            "train:\n\n  optimizer: {learning_rate: 0.1}",
            f"11: train.optimizer.type: missing; expected {OPTIMIZERS}",
        ),
        (
            "train: {optimizer: sgd}",
            f"9: train.optimizer: received 'sgd', expected a mapping whose type is {OPTIMIZERS};"
            " did you mean {type: sgd}?",
        ),
        (
            "train: {optimizer: {typ: sgd}}",
            f"9: train.optimizer.typ: unknown key; did you mean 'type'? known: {ADAM_KEYS},"
            " initial_accumulator_value, rho, momentum, centered, nesterov",
        ),
        (
            "train: {learning_rate_schedule: cosin}",
            "9: train.learning_rate_schedule: received 'cosin', expected 'constant', 'cosine', 'linear',"
            " 'inverse_sqrt' or 'plateau', or a mapping of such a type; did you mean 'cosine'?",
        ),
        (
            "train: {learning_rate_schedule: {type: step}}",
            "9: train.learning_rate_schedule.type: received 'step', expected 'constant', 'cosine', 'linear',"
            " 'inverse_sqrt' or 'plateau'",
        ),
        (
            "train: {learning_rate_schedule: {type: linear, patience: 3}}",
            "9: train.learning_rate_schedule.patience: unknown key; it belongs to type 'plateau'; known:"
            " type, warmup_steps",
        ),
        (
            "train: {learning_rate_schedule: {type: inverse_sqrt, warmup_steps: 0}}",
            "9: train.learning_rate_schedule.warmup_steps: received 0, expected a whole number of at least 1",
        ),
        (
            "train: {early_stopping: {patience: 2}, learning_rate_schedule: {type: plateau, patience: 2}}",
            "9: train.early_stopping: received patience 2, by which training ends before the schedule plateau"
            " (patience 2) has reduced the learning rate; expected more",
        ),
        (
            "train: {validate_every: {steps: 0}}",
            "9: train.validate_every.steps: received 0, expected a whole number of at least 1",
        ),
        (
            "train: {monitor: bleu}",
            "9: train.monitor: 'bleu' does not fit classification; expected"
            f" {quoted(['loss', *LABEL_METRICS])}",
        ),
        (
            "train: {precision: float16}",
            "9: train.precision: received 'float16', expected 'float32', 'mixed_bfloat16' or"
            " 'mixed_float16'; did you mean 'float32'?",
        ),
        (
            "train: {devices: 0}",
            "9: train.devices: received 0, expected a whole number of at least 1 or 'all'",
        ),
        (
            "train: {resources: {min_ram: 8 Gigs}}",
            "9: train.resources.min_ram: received '8 Gigs', expected a number above 0 with a unit of B, KB,"
            " MB, GB, TB, PB, KiB, MiB, GiB, TiB or PiB, such as '8GB'",
        ),
        (
            "train: {resources: {accelerator: t4}}",
            "9: train.resources.accelerator: received 't4', expected a type, a count and perhaps options,"
            " such as 'type:nvidia-tesla-t4;count:1;install-nvidia-driver'",
        ),
        ("train: {root: a}", f"9: train.root: unknown key; it belongs to the top level; known: {TRAIN_KEYS}"),
        (
            "train: {optimizer: {type: [sgd]}}",
            f"9: train.optimizer.type: received a list, expected {OPTIMIZERS}",
        ),
        (
            "evaluate: {metrics: [acuracy]}",
            f"9: evaluate.metrics.0: received 'acuracy', expected {METRIC_WORDS}; did you mean 'accuracy'?",
        ),
        (
            "evaluate: {metrics: accuracy}",
            f"9: evaluate.metrics: received 'accuracy', expected a list of {METRIC_WORDS}",
        ),
        (
            "evaluate: {bless: alwais}",
            "9: evaluate.bless: received 'alwais', expected a mapping with the keys accuracy, macro_f1,"
            " micro_f1, calibration_error, roc_auc, exact_match, character_error_rate, word_error_rate, bleu,"
            " chrf, on and my_module:my_metric, 'always' or null; did you mean 'always'?",
        ),
        (
            "evaluate: {bless: {accuracy: {}}}",
            "9: evaluate.bless.accuracy: expected min, max, max_regression, max_forgetting or several of"
            " them",
        ),
        (
            "evaluate: {bless: {accuracy: {max_regression: 0.1}}}\ntracking: {enabled: false}",
            "9: evaluate.bless: has a max_regression, which compares with the champion in MLflow's "
            "registry; remove"
            " it, or set tracking.enabled to true",
        ),
        (
            "evaluate: {resamples: 0, bless: {accuracy: {max_regression: 0.1}}}",
            "9: evaluate.resamples: is 0, but bless has a max_regression or max_forgetting, which needs them"
            " to tell a drop from chance; expected some hundred",
        ),
        (
            "evaluate: {bless: {accuracy: {slices: {label: {min: 0.1}}}}}",
            "9: evaluate.bless: has bounds on accuracy by label, but the slices are by length; expected"
            " `column` or `column=value`: add label to evaluate.slices",
        ),
        (
            "evaluate: {slices: [lenght]}",
            "9: evaluate.slices.0: received 'lenght', expected 'length', 'unknown' or 'label'; "
            "did you mean 'length'?",
        ),
        (
            "evaluate: {slices: [label, topic]}",
            "9: evaluate.slices.1: received 'topic', expected 'length', 'unknown' or 'label'; add the column"
            " to ingest.keep, or remove it",
        ),
        ("evaluate: {slices: [label, label]}", "9: evaluate.slices.1: 'label' is there twice; remove one"),
        (
            "evaluate: {bless: {accuracy: {mim: 1}}}",
            "9: evaluate.bless.accuracy.mim: unknown key; did you mean 'min'?"
            " known: min, max, max_regression, max_forgetting, slices",
        ),
        (
            "evaluate: {bless: {acc_uracy: {min: 1}}}",
            "9: evaluate.bless.acc_uracy: unknown key; did you mean 'accuracy'?"
            f" known: {', '.join([*METRIC_NAMES[:-1], 'on', METRIC_NAMES[-1]])}",
        ),
        (
            "evaluate:\n  bless:\n    on: train\n    accuracy: {min: 0.5}",
            "11: evaluate.bless.on: received 'train', expected 'test' or 'validation'",
        ),
        (
            "evaluate: {bless: {on: {min: 0.5}}}",
            "9: evaluate.bless.on: received a mapping, expected 'test' or 'validation'",
        ),
        (
            "evaluate: {baseline: svm}",
            "9: evaluate.baseline: received 'svm', expected 'tfidf' or null",
        ),
        (
            "evaluate: {bless: {accuracy: {min: 85}}}",
            "9: evaluate.bless: has min 85 for accuracy, expected a number from 0 to 1, the metric's range;"
            " accuracy is a fraction: 85 % is written 0.85",
        ),
        (
            "evaluate: {bless: {accuracy: {max_regression: 5}}}",
            "9: evaluate.bless: has max_regression 5 for accuracy, which no drop exceeds: expected a number"
            " from 0 to 1; accuracy is a fraction: 5 % is written 0.05",
        ),
        (
            "evaluate:\n  bless:\n    bleu: {min: 1}",
            f"11: evaluate.bless.bleu: does not fit classification; expected {quoted(LABEL_METRICS)}",
        ),
        (
            "evaluate: {metrics: [bleu]}",
            f"9: evaluate.metrics.0: 'bleu' does not fit classification; expected {quoted(LABEL_METRICS)}",
        ),
        (
            "decode: {beam_size: 2}",
            "9: decode: classification decodes nothing; remove it, or set task to seq2seq",
        ),
        (
            "  decoder: {type: gru}",
            "9: model.decoder: classification has none; remove it, or set task to seq2seq",
        ),
        (
            "  attention: {type: bahdanau}",
            "9: model.attention: classification has none; remove it, or set task to seq2seq",
        ),
        (
            "  memory: {type: memory_network}",
            "9: model.memory: classification has none; remove it, or set task to seq2seq",
        ),
        ("  bridge: zeros", "9: model.bridge: classification has none; remove it, or set task to seq2seq"),
        (
            "  tied_softmax: true",
            "9: model.tied_softmax: classification has none; remove it, or set task to seq2seq",
        ),
        (
            "train: {teacher_forcing_ratio: 0.5}",
            "9: train.teacher_forcing_ratio: classification has no decoder to teach; remove it, or set "
            "task to"
            " seq2seq",
        ),
        (
            "train: {teacher_forcing_ratio: 1.5}",
            "9: train.teacher_forcing_ratio: received 1.5, expected a number of at least 0 and of at "
            "most 1 or a"
            " mapping with the keys start, end and schedule",
        ),
        (
            "train: {teacher_forcing_ratio: {start: 1.0, end: 0.0, schedule: exponential}}",
            "9: train.teacher_forcing_ratio.schedule: received 'exponential' from 1.0 to 0.0, expected "
            "start and"
            " end above 0",
        ),
        (
            "train: {class_weight: {a: 0}}",
            "9: train.class_weight.a: received 0, expected a number above 0",
        ),
        (
            "train: {class_weight: balance}",
            "9: train.class_weight: received 'balance', expected 'balanced', a mapping or null; did you mean "
            "'balanced'?",
        ),
        (
            "train: {loss: {type: focal, gamma: -1}}",
            "9: train.loss.gamma: received -1, expected a number of at least 0",
        ),
        (
            "train: {loss: focal, label_smoothing: 0.1}",
            "9: train.label_smoothing: received 0.1 for a focal loss, which is defined for one target only; "
            "expected 0, or loss cross_entropy",
        ),
        (
            "train: {label_smoothing: 1.0}",
            "9: train.label_smoothing: received 1.0, expected a number of at least 0 and below 1",
        ),
        (
            "tokenize: {text: {model_type: bpe}}",
            "9: tokenize.text.model_type: unknown key; it belongs to type 'sentencepiece'; known: type,"
            " normalize, truncation_side, case_fold, max_sequence_length, vocabulary_size",
        ),
        (
            "tokenize:\n  text: {type: words}\n  source: {type: words}",
            "11: tokenize.source: classification has no such text; expected text",
        ),
    ],
)
def test_a_mistake_in_an_added_line(added: str, expected: str):
    assert problems(CLASSIFICATION + added) == [f"run.yaml:{expected}"]


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        (
            "{type: clockwork_rnn, periods: [2, 1]}",
            ".periods: received [2, 1], expected increasing numbers, such as [1, 2, 4]",
        ),
        (
            "{type: clockwork_rnn, periods: [1, 1]}",
            ".periods: received [1, 1], expected increasing numbers, such as [1, 2, 4]",
        ),
        (
            "{type: clockwork_rnn, periods: [0, 1]}",
            ".periods.0: received 0, expected a whole number of at least 1 and below 2147483648",
        ),
        (
            "{type: clockwork_rnn, periods: []}",
            ".periods: received an empty list, expected a list of a whole number of at least 1 and below"
            " 2147483648",
        ),
        (
            "{type: clockwork_rnn, units: 3}",
            ".units: received 3 for 4 periods, expected at least one unit for each period",
        ),
        (
            "{type: lstm, gates: [input, reset]}",
            ".gates.1: received 'reset', expected 'input', 'forget' or 'output'",
        ),
        (
            "{type: lstm, gates: [input, output, input]}",
            ".gates: received ['input', 'output', 'input'], expected each gate once; remove what is repeated",
        ),
        (
            "{type: lstm, gates: [input, output], coupled: true}",
            ".coupled: received true without the forget gate, expected both an input and a forget gate to"
            " couple; add forget to gates, or set coupled to false",
        ),
        (
            "{type: echo_state_rnn, spectral_radius: 0}",
            ".spectral_radius: received 0, expected a number above 0",
        ),
        (
            "{type: echo_state_rnn, leak_rate: 1.5}",
            ".leak_rate: received 1.5, expected a number above 0 and of at most 1",
        ),
        (
            "{type: echo_state_rnn, connectivity: 0}",
            ".connectivity: received 0, expected a number above 0 and of at most 1 or null",
        ),
        (
            "{type: text_cnn, kernel_sizes: [0]}",
            ".kernel_sizes.0: received 0, expected a whole number of at least 1",
        ),
    ],
)
def test_a_mistake_in_an_encoder(encoder: str, expected: str):
    override = f"model.encoder={encoder}"
    assert problems(CLASSIFICATION, override) == [f"--set {override}: model.encoder{expected}"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ("model.readout={type: ridge}",),
            "received a closed form for encoder gru, which would stay untrained; remove it, or set"
            " encoder.type to echo_state_rnn",
        ),
        (
            ("model.readout={type: ridge}", "model.encoder.type=echo_state_rnn", "model.pooling=attention"),
            "received a closed form with attention pooling, which would stay untrained; set pooling to mean",
        ),
        (
            ("model.readout={type: ridge}", "model.encoder.type=echo_state_rnn", "task=seq2seq"),
            "seq2seq has none, its decoder is trained by gradient; remove it",
        ),
    ],
)
def test_a_readout_that_does_not_suit_the_model(overrides: tuple[str, ...], expected: str):
    assert problems(CLASSIFICATION, *overrides) == [f"--set {overrides[0]}: model.readout: {expected}"]


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        (
            "  attention: {type: bahdanau}",
            "5: model.decoder: missing; attention needs a decoder, such as {type: gru}",
        ),
        ("  attention: null", "5: model.decoder: missing; seq2seq expects a decoder, such as {type: gru}"),
        (
            "train: {class_weight: balanced}",
            "9: train.class_weight: seq2seq has no labels to weigh; remove it, or set task to classification",
        ),
        ("  pooling: max", "9: model.pooling: seq2seq has none; remove it, or set task to classification"),
        (
            "  attention: {type: b}\n  decoder: {type: gru}",
            "9: model.attention.type: received 'b', expected 'bahdanau', 'luong', 'monotonic', 'hard' or"
            " 'my_module:MyAttention'",
        ),
        (
            "  decoder: {type: gru, input_feeding: true}",
            "9: model.decoder.input_feeding: received true with no attention, expected attention luong, which"
            " looks at the source after the cells; remove it, or set attention.type to luong",
        ),
        (
            "  attention: {type: hard}\n  decoder: {type: gru, input_feeding: true}",
            "10: model.decoder.input_feeding: received true with attention hard, expected attention luong,"
            " which looks at the source after the cells; remove it, or set attention.type to luong",
        ),
        (
            "    bidirectional: true\n  attention: {type: luong, score: dot}\n"
            "  decoder: {type: gru, units: 8}",
            "10: model.attention.score: received 'dot' for an encoder of width 16 and a decoder of width 8,"
            " expected equal widths; make them so, or set score to general",
        ),
        (
            "  bridge: copy\n  decoder: {type: lstm, units: 8}",
            "9: model.bridge: received 'copy' of 1 x 1 states of width 8 to 1 x 2 states of width 8, expected"
            " the same of both; make layers and units alike, or set bridge to dense",
        ),
        (
            "  decoder: {type: clockwork_rnn, units: 3}",
            "9: model.decoder.units: received 3 for 4 periods, expected at least one unit for each period",
        ),
        (
            "  decoder: {type: lstm, gates: [forget], coupled: true}",
            "9: model.decoder.coupled: received true without the input gate, expected both an input and a"
            " forget gate to couple; add input to gates, or set coupled to false",
        ),
        (
            "  decoder: {type: clockwork_rnn, periods: [2, 1]}",
            "9: model.decoder.periods: received [2, 1], expected increasing numbers, such as [1, 2, 4]",
        ),
        (
            "decode: {length_penalty: x}",
            "9: decode.length_penalty: received 'x', expected a number",
        ),
    ],
)
def test_a_mistake_in_an_added_line_of_seq2seq(added: str, expected: str):
    assert problems(SEQ2SEQ + added) == [f"run.yaml:{expected}"]


@pytest.mark.parametrize(
    ("decode", "expected"),
    [
        ("{beam_size: 0}", ".beam_size: received 0, expected a whole number of at least 1"),
        (
            "{zzz: 5}",
            ".zzz: unknown key; known: beam_size, n_best, length_penalty, length_normalization,"
            " coverage_penalty, min_length, max_decoding_length, no_repeat_ngram_size, prefix, "
            "num_beam_groups, diversity_penalty, "
            "sample,"
            " temperature, top_k, top_p, seed",
        ),
        ("{beam_size: 2, n_best: 3}", ".n_best: received 3, expected at most beam_size (2)"),
        (
            "{min_length: 9, max_decoding_length: 8}",
            ".min_length: received 9, expected at most max_decoding_length (8)",
        ),
        (
            "{length_normalization: mean}",
            ".length_normalization: received 'mean', expected 'gnmt' or 'average'",
        ),
        ("{prefix: ''}", ".prefix: received no text; remove it, or say what answers begin with"),
        (
            "{prefix: 5}",
            ".prefix: received 5, expected text or null; put it in quotes",
        ),
        ("{num_beam_groups: 3}", ".num_beam_groups: received 3, expected a divisor of beam_size (4)"),
        (
            "{diversity_penalty: 0.5}",
            ".diversity_penalty: received 0.5 for a single group; set num_beam_groups, or remove it",
        ),
        (
            "{sample: true, num_beam_groups: 2}",
            ".num_beam_groups: received 2 with sample, whose draws differ by themselves; remove it",
        ),
        (
            "{top_k: 5}",
            ".top_k: received 5, but nothing is drawn; set sample to true, or remove it",
        ),
        ("{sample: true, top_p: 0.0}", ".top_p: received 0.0, expected a number above 0 and of at most 1"),
        (
            "{sample: true, temperature: 0}",
            ".temperature: received 0, expected a number above 0",
        ),
        ("{seed: 5}", ".seed: received 5, but nothing is drawn; set sample to true, or remove it"),
        (
            "{length_penalty: 17, length_normalization: average}",
            ".length_penalty: received 17.0, by which answers of max_decoding_length (64) would be "
            "divided by more"
            " than float32 can hold; take a number nearer to 0",
        ),
    ],
)
def test_a_mistake_in_decode(decode: str, expected: str):
    assert problems(SEQ2SEQ, f"decode={decode}") == [f"--set decode={decode}: decode{expected}"]


@pytest.mark.parametrize(
    ("attention", "expected"),
    [
        (
            "{type: hard, estimator: straight_through, temperature: 0.4}",
            ".temperature: received 0.4, expected at least min_temperature (0.5), below which it does not"
            " fall; set both",
        ),
        (
            "{type: hard, temperature: 2.0}",
            ".temperature: received 2.0, but the estimator is reinforce; remove it, or set estimator to"
            " straight_through",
        ),
        (
            "{type: hard, estimator: straight_through, entropy: 3}",
            ".entropy: received 3.0, but the estimator is straight_through; remove it, or set estimator to"
            " reinforce",
        ),
    ],
)
def test_a_mistake_in_hard_attention(attention: str, expected: str):
    text = SEQ2SEQ + "  decoder: {type: gru}\n"
    assert problems(text, f"model.attention={attention}") == [
        f"--set model.attention={attention}: model.attention{expected}"
    ]


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (CLASSIFICATION, "train.schedule=cosine", "learning_rate_schedule"),
        (CLASSIFICATION, "train.clip_norm=1.0", "global_clipnorm"),
        (CLASSIFICATION, "train.teacher_forcing=0.5", "teacher_forcing_ratio"),
        (CLASSIFICATION, "train.buckets=4", "length_buckets"),
        (CLASSIFICATION, "tokenize.text={type: words, lowercase: true}", "case_fold"),
        (CLASSIFICATION, "tokenize.text={type: words, max_length: 9}", "max_sequence_length"),
        (
            CLASSIFICATION,
            "tokenize.text={type: words, cut: start}",
            "truncation_side, with left for start and right for end",
        ),
        (CLASSIFICATION, "tokenize.text={type: sentencepiece, model: bpe}", "model_type"),
        (CLASSIFICATION, "model.encoder={type: lstm, layers: 2}", "num_layers"),
        (CLASSIFICATION, "model.encoder={type: tfidf, layers: 2}", "num_layers"),
        (CLASSIFICATION, "model.encoder={type: tfidf, buckets: 2}", "hash_bins"),
        (CLASSIFICATION, "model.encoder={type: text_cnn, widths: [2]}", "kernel_sizes"),
        (CLASSIFICATION, "model.readout={type: ridge, ridges: [1.0]}", "alphas"),
        (CLASSIFICATION, "evaluate.bless={accuracy: {max_drop: 0.1}}", "max_regression"),
        (CLASSIFICATION, "beam={runner: local}", "runner, with type instead of runner in it"),
        (SEQ2SEQ, "model.tied_embeddings=true", "tied_softmax"),
        (SEQ2SEQ, "model.decoder={type: gru, layers: 2}", "num_layers"),
        (SEQ2SEQ, "decode.beam_width=2", "beam_size"),
        (SEQ2SEQ, "decode.max_length=2", "max_decoding_length"),
        (SEQ2SEQ, "decode.no_repeat_ngram=2", "no_repeat_ngram_size"),
        (SEQ2SEQ, "decode.groups=2", "num_beam_groups"),
        (SEQ2SEQ, "decode.diversity=0.5", "diversity_penalty"),
    ],
)
def test_a_key_of_an_earlier_version_is_told_its_new_name(text, overrides, expected):
    assert any(problem.endswith(f": renamed to {expected}") for problem in problems(text, overrides))


def test_a_memory_network_without_its_question():
    memory = ("model.encoder={type: memory_network}", "model.pooling=mean")
    cut = (
        "tokenize.text.truncation_side: received 'right' for encoder memory_network, whose question comes"
        " last; set it to"
    )
    found = problems(CLASSIFICATION, *memory)
    assert [each.partition(": ")[2] for each in found] == [
        f"{cut} left",
        "model.pooling: reads the outputs of encoder memory_network, which do not know the question; remove"
        " it",
    ]
    found = problems(SEQ2SEQ + "  decoder: {type: gru}\n", memory[0])
    assert [each.partition(": ")[2] for each in found] == [cut.replace("text", "source") + " left"]


def test_counts_without_a_layer_are_for_classification():
    text = SEQ2SEQ + "  decoder: {type: gru}\n"
    assert problems(text, "model.encoder={type: tfidf, num_layers: 0}") == [
        "--set model.encoder={type: tfidf, num_layers: 0}: model.encoder.num_layers: received 0, which is for"
        " classification; set at least 1"
    ]


def test_a_coverage_penalty_without_attention():
    text = SEQ2SEQ + "  decoder: {type: gru}\ndecode:\n  coverage_penalty: 0.2\n"
    message = "received 0.2, but the model has no attention; remove it, or set model.attention"
    assert problems(text) == [f"run.yaml:11: decode.coverage_penalty: {message}"]


FILE_KINDS = "a mapping with the keys train, validation and test, text or a list of text"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: tiny\n", "", "1: name: missing; expected text that matches '^[A-Za-z0-9][A-Za-z0-9_.-]*$'"),
        ("tiny", "a b", "1: name: received 'a b', expected text that matches '^[A-Za-z0-9][A-Za-z0-9_.-]*$'"),
        (
            "tiny",
            "2024",
            "1: name: received 2024, expected text that matches '^[A-Za-z0-9][A-Za-z0-9_.-]*$'; put it in"
            " quotes",
        ),
        (
            "classification",
            "clasification",
            "2: task: received 'clasification', expected 'classification' or 'seq2seq'; did you mean"
            " 'classification'?",
        ),
        (
            "task: cl",
            "tusk: cl",
            "2: tusk: unknown key; did you mean 'task'? known: name, task, root, seed, ingest, tokenize,"
            " model, train, sweep, decode, evaluate, export, tracking, runner",
        ),
        (
            "type: gru",
            "type: gruu",
            f"7: model.encoder.type: received 'gruu', expected {ENCODER_WORDS}; did you mean 'gru'?",
        ),
        ("    type: gru\n", "", f"6: model.encoder.type: missing; expected {ENCODER_WORDS}"),
        (
            "units",
            "unit",
            "8: model.encoder.unit: unknown key; did you mean 'units'? known: type, units, num_layers,"
            " dropout, bidirectional, residual, activation, recurrent_activation",
        ),
        ("files: {train: train.tsv}", "format: tsv", "3: ingest.files: missing; expected " + FILE_KINDS),
        ("{train: train.tsv}", "3", f"4: ingest.files: received 3, expected {FILE_KINDS}"),
        (
            "{train: train.tsv}",
            "[train.tsv, 3]",
            "4: ingest.files.1: received 3, expected text; put it in quotes",
        ),
        (
            "{train: train.tsv}",
            "{train: [train.tsv, [a]]}",
            "4: ingest.files.train.1: received a list, expected text",
        ),
        (
            "{train: train.tsv}",
            "{train: train.tsv, tset: train.tsv}",
            "4: ingest.files.tset: unknown key; did you mean 'test'? known: train, validation, test",
        ),
        (
            "{train: train.tsv}",
            "{train: train.tsv, test: []}",
            "4: ingest.files.test: received nothing, expected at least one file",
        ),
        (
            "{train: train.tsv}",
            "{train: {text: train.tsv}}",
            "4: ingest.files.train.label: missing; expected a mapping from text and label to a file each",
        ),
        (
            "{train: train.tsv}",
            "\n    train: {text: train.tsv, label: train.tsv}\n    test:\n      text: train.tsv\n     "
            " lable: train.tsv\n      label: train.tsv",
            "8: ingest.files.test.lable: unknown; did you mean 'label'? classification has text and label",
        ),
        (
            "{train: train.tsv}",
            "{train: {text: train.tsv, label: train.tsv}}\n  format: csv",
            "4: ingest.files.train: format csv has all fields in one file; received a mapping",
        ),
        (
            "{train: train.tsv}",
            "{train: train.tsv}\n  format: text",
            "4: ingest.files.train: format text expects a mapping from text and label to a file each",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  format: text",
            "4: ingest.files: format text expects, for each split, a mapping from text and label to a file"
            " each",
        ),
        (
            "{train: train.tsv}",
            "{train: {text: train.tsv, label: train.tsv}}\n  format: text\n  columns: {text: a}",
            "6: ingest.columns: format text has no columns; remove it, and name the file of each field in"
            " files",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  columns: {text: a, source: b}",
            "5: ingest.columns.source: unknown; classification has text and label",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  columns: {text: null}",
            "5: ingest.columns.text: received nothing, expected text or a whole number",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  columns:\n    text: a\n    label: a",
            "7: ingest.columns.label: received 'a', which text is read from; expected another column",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  columns: {text: label}",
            "5: ingest.columns.label: received 'label', which text is read from; expected another column",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  keep: {label: a, length: b}",
            "5: ingest.keep: has label, length, which is taken; expected other names",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  keep: {a=b: c}",
            "5: ingest.keep: has a name that is empty or has a =; expected names without",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  keep: {topic: 3}\n  columns: {text: a}",
            "5: ingest.keep: mixes names and positions: use names for files with a header line",
        ),
        (
            "{train: train.tsv}",
            "{train: {text: train.tsv, label: train.tsv}}\n  format: text\n  keep: {topic: a}",
            "6: ingest.keep: format text has no columns to keep; remove it",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  columns: {text: 0}",
            "5: ingest.columns.label: missing; text has a position, so the files have no names to find it"
            " by; give its own",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  max_rejected: -1.0",
            "5: ingest.max_rejected: received -1.0, expected a whole number of at least 0 or a number"
            " above 0 and below 1",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  holdout: {train: 0.1}",
            "5: ingest.holdout.train: unknown key; known: validation, test",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  holdout: {test: 0.1}\ntrain: {monitor: accuracy}",
            "6: train.monitor: received 'accuracy', which is measured on the validation split, but there is"
            " none; name files for validation in ingest.files, or give it a fraction in ingest.holdout",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  holdout: {test: 0.1}\ntrain: {validate_every: {steps: 5}}",
            "6: train.validate_every: received steps 5 without a validation split; name files for validation"
            " in ingest.files, or give it a fraction in ingest.holdout",
        ),
        (
            "    type: gru\n    units: 8\n",
            "    type: echo_state_rnn\n  readout: {type: ridge}\ntrain: {devices: 2}\n",
            "9: train.devices: has no effect on a readout of type ridge, which is solved; remove it",
        ),
        (
            "    type: gru\n    units: 8\n",
            "    type: echo_state_rnn\n  readout: {type: ridge}\ntrain: {loss: focal}\n",
            "9: train.loss: has no effect on a readout of type ridge, which is solved; remove it",
        ),
        (
            "    type: gru\n    units: 8\n",
            "    type: gru\n  pooling: {type: hard_attention}\ntrain: {devices: all}\n",
            "9: train.devices: received 'all' for a hard model.pooling that is trained by reinforce, whose"
            " baseline is a mean over whole batches, expected 1; remove it, or set model.pooling.estimator to"
            " straight_through",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  holdout: {}",
            "5: ingest.holdout: leaves nothing to evaluate on; expected files or a fraction for test or"
            " validation",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  split: {type: grup, column: a}",
            "5: ingest.split.type: received 'grup', expected 'hash', 'stratified', 'group', 'time' or 'fold';"
            " did you mean 'group'?",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  split: {type: group}",
            "5: ingest.split.column: missing; expected text or a whole number of at least 0",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  split: {type: stratified, column: a}",
            "5: ingest.split.column: unknown key; it belongs to type 'group', 'time' or 'fold'; known: type",
        ),
        (
            "{train: train.tsv}",
            "{train: train.tsv, validation: train.tsv, test: train.tsv}\n  split: stratified",
            "5: ingest.split: there is nothing to split: every split has files of its own, or no fraction in"
            " holdout; remove it",
        ),
        (
            "{train: train.tsv}",
            "{train: {text: train.tsv, label: train.tsv}}\n  format: text\n  split: {type: group, column: a}",
            "6: ingest.split: format text has no column to split by; remove it",
        ),
        (
            "{train: train.tsv}",
            'train.tsv\n  split: {type: time, column: ""}',
            "5: ingest.split.column: received an empty text, expected the name of a column",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  split: {type: time, column: -1}",
            "5: ingest.split.column: received -1, expected text or a whole number of at least 0",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  split: {type: time, column: 2}",
            "5: ingest.split.column: received 2, a position, but text and label have none; give theirs in"
            " columns, or the column's name",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  columns: {text: a}\n  split: {type: time, column: 2}",
            "6: ingest.split: mixes names and positions: use names for files with a header line",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  columns: {label: stars}\n  split: {type: group, column: stars}",
            "6: ingest.split.column: received 'stars', which label is read from: no label of test would be in"
            " train; expected another column",
        ),
        (
            "{train: train.tsv}",
            "train.tsv\n  keep: {split.column: a}",
            "5: ingest.keep: has split.column, which is taken; expected other names",
        ),
    ],
)
def test_a_mistake_in_place_of_something_sound(old: str, new: str, expected: str):
    assert CLASSIFICATION.count(old) == 1
    assert problems(CLASSIFICATION.replace(old, new)) == [f"run.yaml:{expected}"]


WITHOUT_VALIDATION = CLASSIFICATION.replace(
    "{train: train.tsv}", "{train: train.tsv, test: train.tsv}\n  holdout: {}"
)


def test_calibration_needs_a_validation_split():
    assert problems(WITHOUT_VALIDATION + "evaluate:\n  calibrate: temperature\n") == [
        "run.yaml:11: evaluate.calibrate: received 'temperature', which is fitted to the validation split, "
        "but there is none; name files for validation in ingest.files, or give it a fraction in "
        "ingest.holdout"
    ]
    Path("run.yaml").write_text(WITHOUT_VALIDATION + "evaluate: {target_accuracy: 0.9}\n")
    assert load_config(Path("run.yaml")).evaluate.target_accuracy == 0.9


def test_only_classifiers_are_calibrated():
    text = SEQ2SEQ + "  decoder: {type: gru}\nevaluate:\n  calibrate: temperature\n  target_accuracy: 0.9\n"
    reason = "but the score of a seq2seq answer is no probability of a label; remove it"
    assert problems(text) == [
        f"run.yaml:11: evaluate.calibrate: received 'temperature', {reason}",
        f"run.yaml:12: evaluate.target_accuracy: received 0.9, {reason}",
    ]
    (problem,) = problems(CLASSIFICATION + "evaluate: {target_accuracy: 95}\n")
    assert "9: evaluate.target_accuracy: received 95, expected" in problem
    assert problem.endswith("; did you mean 0.95?")
    (problem,) = problems(CLASSIFICATION + "evaluate: {target_accuracy: 1.5}\n")
    assert "did you mean" not in problem


def test_what_was_forgotten_is_not_asked_of_calibration():
    bounds = "{calibration_error: {max_forgetting: 0.1}}"
    text = (
        CLASSIFICATION + f"train: {{init_from: x}}\nevaluate: {{calibrate: temperature, bless: {bounds}}}\n"
    )
    (problem,) = problems(text)
    assert problem.startswith(
        "run.yaml:10: evaluate.bless.calibration_error: has a max_forgetting, but on the"
    )


def test_folds_are_taken_from_train():
    fold = "split: {type: fold, folds: 3, fold: 1}"
    named = CLASSIFICATION.replace("train.tsv}", f"train.tsv, test: train.tsv}}\n  {fold}")
    assert problems(named) == [
        "run.yaml:5: ingest.split: folds are taken from train; expected files for it, and none for test"
    ]
    stratified = fold.replace("1}", "1, stratified: true}")
    assert problems(SEQ2SEQ.replace("{train: train.tsv}", f"train.tsv\n  {stratified}")) == [
        "run.yaml:5: ingest.split.stratified: seq2seq has no labels; remove it"
    ]


def test_there_are_no_labels_to_stratify_by():
    assert problems(SEQ2SEQ.replace("{train: train.tsv}", "train.tsv\n  split: stratified")) == [
        "run.yaml:5: ingest.split.type: received 'stratified', but seq2seq has no labels; expected 'hash', "
        "'group' or 'time'"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: the file is empty, expected keys such as 'name: dates'"),
        ("# nothing\n", "1: the file is empty, expected keys such as 'name: dates'"),
        ("- a\n", "1: received no mapping, expected keys such as 'name: dates'"),
        (
            "name: a\ntrain:\n\tepochs: 1\n",
            "3: not valid YAML: found character '\\t' that cannot start any token"
            " (a tab: indent with spaces)",
        ),
        (
            "name: a\nroot: @x\n",
            "2: not valid YAML: found character '@' that cannot start any token"
            " (quote text that starts with it)",
        ),
        (
            "name: a: b\n",
            "1: not valid YAML: mapping values are not allowed here"
            " (quote text that contains ': ', or mend the indentation)",
        ),
        (
            "name: a\nfiles: [a,\n  b\nc: d\n",
            "4: not valid YAML: while parsing a flow sequence that begins in line 2:"
            " expected ',' or ']', but got ':'",
        ),
        ("name: a\nb: *c\n", "2: not valid YAML: found undefined alias 'c'"),
        (
            "name: a\n---\nname: b\n",
            "2: not valid YAML: expected a single document in the stream that begins in line 1:"
            " but found another document",
        ),
        ("name: a\nroot: \x01\n", "2: not valid YAML: the character '\\x01' is not allowed"),
    ],
)
def test_text_that_is_no_configuration(text: str, expected: str):
    assert problems(text) == [f"run.yaml:{expected}"]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
TOO_DEEP = "nested more than 50 deep, expected sections of a few keys"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            BOMB,
            "1: with its aliases written out, this is more than 100,000 values; write out what is meant",
        ),
        (f"a:\n  {'[' * 10_000}{']' * 10_000}", f"2: {TOO_DEEP}"),
        ("a: " + "{a: " * 10_000 + "1" + "}" * 10_000, f"1: {TOO_DEEP}"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(1000)), f"50: {TOO_DEEP}"),
        (
            "#" * 1_000_001,
            "1: received 1,000,001 characters, expected at most 1,000,000: this is no configuration",
        ),
    ],
    ids=["aliases", "lists", "mappings", "sections", "characters"],
)
def test_small_texts_that_would_be_much_work(text: str, expected: str):
    assert problems(text) == [f"run.yaml:{expected}"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (f"seed={'[' * 10_000}", TOO_DEEP),
        (f"{'a.' * 10_000}b=1", "received a path of 10001 keys, expected at most 50"),
        (
            f"evaluate.slices.{'9' * 5000}=x",
            f"evaluate.slices has 1 items; received '{'9' * 60}...', expected an index below 1",
        ),
        (f"seed={'9' * 5000}", f"seed: '{'9' * 60}...' is no int"),
        (f"seed=1e{'9' * 5000}", f"seed: received 1e{'9' * 58}..., expected a finite number"),
        (
            f"seed=[{', '.join(line[4:] for line in BOMB.splitlines())}]",
            "with its aliases written out, this is more than 100,000 values; write out what is meant",
        ),
    ],
    ids=["deep value", "deep path", "index", "integer", "float", "aliases"],
)
def test_overrides_that_would_be_much_work(override: str, expected: str):
    text = CLASSIFICATION + "evaluate: {slices: [length]}\n"
    assert problems(text, override) == [f"--set {override[:200]}{'...' * (len(override) > 200)}: {expected}"]


def test_text_that_is_not_utf_8():
    assert problems(b"name: \xff") == ["run.yaml: byte 6 is not UTF-8; save the file as UTF-8 text"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("trian.tsv", ": there is no file 'trian.tsv' in {cwd}; did you mean 'train.tsv'?"),
        ("data/x.tsv", ": there is no file 'data/x.tsv' in {cwd}"),
        ("'*.csv'", ": '*.csv' matches no file in {cwd}"),
        ("'deep/**/*.tsv'", ": 'deep/**/*.tsv' matches no file in {cwd}"),
        ("deep/", ": 'deep/' is a directory; expected files, such as 'deep/*'"),
        ("[train.tsv, gone.tsv]", ".1: there is no file 'gone.tsv' in {cwd}"),
    ],
)
def test_files_that_are_not_there(files: str, expected: str):
    Path("deep/er").mkdir(parents=True)
    (found,) = problems(CLASSIFICATION.replace("{train: train.tsv}", files))
    assert found == f"run.yaml:4: ingest.files{expected.format(cwd=Path.cwd())}"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("link.tsv", "'link.tsv' is a link to 'gone/away.tsv', which leads to no file; {advice}"),
        ("round.tsv", "'round.tsv' is a link to 'round.tsv', which leads to no file; {advice}"),
        (
            "'l*.tsv'",
            "'l*.tsv' matches no file in {cwd}; 'link.tsv' is a link to 'gone/away.tsv', which leads to no"
            " file; {advice}",
        ),
        ("pipe", "'pipe' is a pipe, a socket or a device; expected a file, which can be read twice"),
        (
            "'[v1]/x.tsv'",
            "'[v1]/x.tsv' matches no file in {cwd}; nothing matches '[v1]', in which [...] stands for one of"
            " the characters inside, and [[] for a bracket",
        ),
    ],
)
def test_what_is_there_is_not_called_missing(files: str, expected: str):
    """Nor advised."""
    Path("link.tsv").symlink_to("gone/away.tsv")
    Path("round.tsv").symlink_to("round.tsv")
    os.mkfifo("pipe")
    (found,) = problems(CLASSIFICATION.replace("{train: train.tsv}", files))
    expected = expected.format(cwd=Path.cwd(), advice="mend the link, or name the file itself")
    assert found == f"run.yaml:4: ingest.files: {expected}"


def test_a_configuration_that_is_a_broken_link():
    Path("run.yaml").symlink_to("gone.yaml")
    with pytest.raises(ConfigError) as caught:
        load_config(Path("run.yaml"))
    advice = "which leads to no file; mend the link, or name the file itself"
    assert str(caught.value) == f"run.yaml: 'run.yaml' is a link to 'gone.yaml', {advice}"


def test_a_configuration_that_is_not_there():
    Path("pipeline.yaml").touch()
    Path("folder").mkdir()
    here = f"there is no such file in {Path.cwd()}"
    for name, expected in {
        "pipelin.yaml": f"pipelin.yaml: {here}; did you mean 'pipeline.yaml'?",
        "x": f"x: {here}; make one from your data: rnnpipe init FILE, or copy one in examples/",
        "train.tsv/x": "train.tsv/x: cannot be read: Not a directory; check the path and its permissions",
        "folder": "folder: received a directory, expected a file such as folder/pipeline.yaml",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load_config(Path(name))
        assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("train.epoch=6", f"train.epoch: unknown key; did you mean 'epochs'? known: {TRAIN_KEYS}"),
        (
            "trian.epochs=6",
            "trian: unknown key; did you mean 'train'? known: name, task, root, seed, ingest, tokenize,"
            " model, train, sweep, decode, evaluate, export, tracking, runner",
        ),
        (
            "train.epochs='6'",
            "train.epochs: received '6', expected a whole number of at least 1 or null; remove the quotes",
        ),
        (
            "train.optimizer.learning_rate=1",
            f"train.optimizer.type: missing; expected {OPTIMIZERS}",
        ),
        ("train={epochs: 0}", "train.epochs: received 0, expected a whole number of at least 1 or null"),
        ("train", "expected path=value, such as train.epochs=5"),
        ("train..epochs=5", "expected path=value, such as train.epochs=5"),
        (
            "train.epochs=[",
            "not valid YAML: expected the node content, but found '<stream end>'",
        ),
        ("name.first=x", "name is 'tiny', which has no 'first'"),
        (
            "evaluate.metrics.first=bleu",
            "evaluate.metrics has 1 items; received 'first', expected an index below 1",
        ),
        ("evaluate.metrics.1=bleu", "evaluate.metrics has 1 items; received '1', expected an index below 1"),
        ("evaluate.metrics.0.x=bleu", "evaluate.metrics.0 is 'accuracy', which has no 'x'"),
        (
            "task=seq2seq",
            f"evaluate.metrics.0: 'accuracy' does not fit seq2seq; expected {quoted(TEXT_METRICS)}",
        ),
    ],
)
def test_a_mistake_in_an_override(assignment: str, expected: str):
    text = CLASSIFICATION + "evaluate: {metrics: [accuracy]}\n"
    origin = "run.yaml:9" if assignment.startswith("task") else f"--set {assignment}"
    assert problems(text, assignment) == [f"{origin}: {expected}"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file():
    text = SEQ2SEQ.replace("units: 8", "unit: 8\n  pooling: max") + (
        "train:\n  epoch: 5\n  optimizer: {type: adm}\ndecode: {beam_size: 0}\nevaluate: {metrics:"
        " [accuracy]}\n"
        "seed: -1\nseed: 2\n"
    )
    found = problems(text, "export.directory=3", "runner.type=flink")
    assert [problem.split(": ")[:2] for problem in found] == [
        ["run.yaml:8", "model.encoder.unit"],
        ["run.yaml:11", "train.epoch"],
        ["run.yaml:12", "train.optimizer.type"],
        ["run.yaml:13", "decode.beam_size"],
        ["run.yaml:14", "evaluate.metrics.0"],
        ["run.yaml:15", "seed"],
        ["run.yaml:16", "seed"],
        ["--set export.directory=3", "export.directory"],
        ["--set runner.type=flink", "runner.type"],
    ]


def test_a_mistyped_key_does_not_hide_what_is_wrong_with_the_right_one():
    found = problems(CLASSIFICATION + "train:\n  epoch: 5\n  epochs: 0\n")
    assert [problem.split(": ")[1] for problem in found] == ["train.epoch", "train.epochs"]


def test_the_error_is_its_text():
    error = ConfigError("a: b\nc: d")
    assert error.args == ("a: b\nc: d",)
    assert error.problems == ["a: b", "c: d"]


@pytest.mark.parametrize(
    "model",
    [
        "{encoder: {type: lstm, units: 4, bidirectional: true, num_layers: 2}, bridge: copy,"
        " decoder: {type: lstm, units: 8, num_layers: 2}}",
        "{encoder: {type: cnn_lstm, units: 8}, attention: {type: luong, score: dot}, bridge: copy,"
        " decoder: {type: lstm, units: 8}}",
        "{encoder: {type: text_cnn, filters: 4, kernel_sizes: [2, 3]}, attention: {type: luong, score: dot},"
        " bridge: copy, decoder: {type: clockwork_rnn, units: 8}}",
        "{encoder: {type: tfidf, units: 8}, bridge: copy, decoder: {type: gru, units: 8}}",
    ],
)
def test_what_fits_together_is_taken(model: str):
    Path("run.yaml").write_text(SEQ2SEQ)
    load_config(Path("run.yaml"), [f"model={model}"])


def test_a_baseline_that_predicts_labels_is_not_for_texts():
    assert problems(SEQ2SEQ, "evaluate.baseline=tfidf") == [
        "--set evaluate.baseline=tfidf: evaluate.baseline: received 'tfidf', which predicts labels, but"
        " seq2seq has none; remove it"
    ]


@pytest.mark.parametrize(
    ("content", "added", "expected"),
    [
        (
            b"a 1 2 3\n",
            "  embeddings: {file: vectors.txt}\n  embedding_size: 64",
            "10: model.embedding_size: received 64, but the vectors of vectors.txt have 3 numbers; expected "
            "the same, or remove it",
        ),
        (
            b"PK\x03\x04",
            "  embeddings: {file: vectors.txt}",
            "9: model.embeddings.file: vectors.txt is a zip archive, expected the file in it; unpack it.",
        ),
        (
            None,
            "  embeddings: {file: vectors.txt}",
            "9: model.embeddings.file: there is no file 'vectors.txt' in ",
        ),
        (
            None,
            "  embeddings: {file: .}",
            "9: model.embeddings.file: '.' is a directory; expected a file of vectors",
        ),
        (
            None,
            "  train_embeddings: false",
            "9: model.train_embeddings: renamed to embeddings, with trainable in it",
        ),
        (
            b"a 1 2 3\n",
            "  embeddings: {file: vectors.txt}\nrunner: {type: portable}\nroot: s3://b/r",
            "9: model.embeddings.file: received 'vectors.txt', which is on this machine, while the",
        ),
    ],
)
def test_vectors_are_looked_at_before_anything_starts(content, added, expected):
    if content is not None:
        Path("vectors.txt").write_bytes(content)
    found = [problem for problem in problems(CLASSIFICATION + added) if ": model." in problem]
    assert len(found) == 1
    assert found[0].startswith(f"run.yaml:{expected}")


def test_an_encoder_that_reads_no_embeddings_has_no_vectors():
    Path("vectors.txt").write_bytes(b"a 1 2 3\n")
    counted = CLASSIFICATION.replace("    type: gru\n    units: 8", "    type: tfidf")
    assert problems(counted + "  embeddings: {file: vectors.txt}") == [
        "run.yaml:8: model.embeddings.file: the encoder tfidf reads the numbers of tokens, not embeddings; "
        "remove it"
    ]


def test_embeddings_are_as_wide_as_their_vectors_or_64():
    Path("vectors.txt").write_bytes(b"a 1 2 3\n")
    text = CLASSIFICATION.replace("{train: train.tsv}", "{train: train.tsv}\n  holdout: {test: 0.2}")
    Path("run.yaml").write_text(text, encoding="utf-8")
    assert load_config(Path("run.yaml")).model.embedding_size == 64
    assert load_config(Path("run.yaml"), ["model.embeddings.file=vectors.txt"]).model.embedding_size is None
