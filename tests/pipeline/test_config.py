"""Defaults, overrides, plain data, and properties of whole configurations."""

import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from components.evaluate.metrics import metric_names
from components.strict import FIELDS
from pipeline.config import ConfigError, PipelineConfig, flatten, load_config, resolved
from pipeline.config.schema import shape

MINIMAL = {
    "name": "tiny",
    "task": "classification",
    "ingest": {"files": "train.tsv"},
    "model": {"encoder": {"type": "gru", "units": 8}},
}

quick = settings(
    max_examples=40,
    deadline=None,
    # Of what the schema allows, the checks between sections refuse nearly half.
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.tsv").touch()


def load(data: dict, *overrides: str) -> PipelineConfig:
    with Path("run.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(data, file)
    return load_config(Path("run.yaml"), overrides)


def test_classification_is_filled_in():
    config = load(MINIMAL)
    assert config.tokenize.text.type == "auto"
    assert config.model.pooling == "max"
    assert config.train.learning_rate_schedule.type == "cosine"
    assert config.train.early_stopping.patience == 3
    assert config.model.decoder is config.model.attention is config.decode is None
    assert config.evaluate.metrics == list(metric_names("classification"))
    assert config.tracking.experiment == "tiny"
    assert (config.root, config.seed, config.runner.type) == ("runs", 7, "local")


def test_seq2seq_is_filled_in():
    config = load(MINIMAL, "task=seq2seq")
    assert config.tokenize.source.type == config.tokenize.target.type == "auto"
    assert config.tokenize.text is config.model.pooling is None
    assert (config.model.decoder.type, config.model.decoder.units) == ("gru", 8)
    assert config.model.attention.type == "bahdanau"
    assert config.decode.beam_size == 4
    assert config.evaluate.metrics == list(metric_names("seq2seq"))


def test_a_decoder_alone_means_no_attention():
    assert load(MINIMAL, "task=seq2seq", "model.decoder.type=lstm").model.attention is None


def test_what_is_written_is_kept():
    config = load(
        MINIMAL,
        "model.pooling=max",
        "evaluate.metrics=[macro_f1]",
        "tokenize.text.type=words",
        "tracking.experiment=other",
    )
    assert config.model.pooling == "max"
    assert config.evaluate.metrics == ["macro_f1"]
    assert config.tokenize.text.type == "words"
    assert config.tracking.experiment == "other"


@pytest.mark.parametrize(
    ("override", "patience"),
    [
        ("train.early_stopping=", None),
        ("train.early_stopping={patience: 1}", 1),
        ("train.learning_rate_schedule=plateau", 3),
        ("train.learning_rate_schedule={type: plateau, patience: 3}", None),
        ("train.validate_every={steps: 9}", None),
        ("model={encoder: {type: echo_state_rnn}, readout: {type: ridge}}", None),
        ("task=seq2seq", 3),
    ],
)
def test_early_stopping_that_is_left_out(override, patience):
    stopping = load(MINIMAL, "ingest.holdout={validation: 0.1, test: 0.1}", override).train.early_stopping
    assert (stopping.patience if stopping else None) == patience


@pytest.mark.parametrize(
    ("encoder", "pooling"),
    [
        ("gru", "max"),
        ("cnn_lstm", "max"),
        ("text_cnn", "last"),
        ("tfidf", "last"),
        ("echo_state_rnn", "mean"),
    ],
)
def test_pooling_that_is_left_out(encoder, pooling):
    assert load(MINIMAL, f"model.encoder={{type: {encoder}}}").model.pooling == pooling


def test_a_tokenizer_that_is_left_out_is_chosen():
    config = load(MINIMAL, "task=seq2seq", "tokenize.source={type: words, min_count: 2}")
    assert (config.tokenize.source.type, config.tokenize.source.min_count) == ("words", 2)
    assert config.tokenize.target.type == "auto"
    for written in ("tokenize={}", "tokenize.text=", "tokenize.text={type: auto}", "tokenize.text={}"):
        assert load(MINIMAL, written) == load(MINIMAL)
    text = load(MINIMAL, "tokenize.text.max_sequence_length=9").tokenize.text
    assert (text.type, text.max_sequence_length) == ("auto", 9)


def test_models_may_be_given_as_objects():
    config = load(MINIMAL)
    parts = {name: getattr(config, name) for name in ("name", "task", "ingest", "model")}
    assert PipelineConfig(**parts) == config


def test_misfits_are_errors_without_a_file_too():
    with pytest.raises(ValidationError, match=r"decode: classification decodes nothing"):
        PipelineConfig.model_validate({**MINIMAL, "decode": {}})


def test_a_whole_number_may_stand_for_a_number():
    assert load(MINIMAL, "train.global_clipnorm=1").train.global_clipnorm == 1.0


def test_yaml_is_read_as_1_2():
    assert load(MINIMAL, "tracking.uri=2024-01-01", "tracking.experiment=on").tracking.uri == "2024-01-01"
    assert (
        load(MINIMAL, "train.optimizer={type: sgd, learning_rate: 1e-3}").train.optimizer.learning_rate
        == 1e-3
    )
    assert load(MINIMAL, "train.early_stopping=").train.early_stopping is None


def test_aliases_repeat_a_value():
    Path("alias.yaml").write_text(
        "name: twice\ntask: seq2seq\ningest: {files: train.tsv}\nmodel: {encoder: {type: gru}}\n"
        "tokenize: {source: &same {type: words, max_sequence_length: 9}, target: *same}\n"
    )
    config = load_config(Path("alias.yaml"), ["tokenize.target.max_sequence_length=5"])
    assert (config.tokenize.source.max_sequence_length, config.tokenize.target.max_sequence_length) == (9, 5)


def test_the_last_override_wins_and_sections_are_replaced():
    assert load(MINIMAL, "train.epochs=3", "train.epochs=4").train.epochs == 4
    assert load(MINIMAL, "train.epochs=3", "train={batch_size: 2}").train.epochs is None


def test_items_of_a_list_are_set_by_index():
    config = load({**MINIMAL, "evaluate": {"metrics": ["macro_f1"]}}, "evaluate.metrics.0=accuracy")
    assert config.evaluate.metrics == ["accuracy"]


def test_files_may_be_globs_remote_or_aligned():
    Path("part-1.tsv").touch()
    files = load(MINIMAL, "ingest.files={train: [part-*.tsv, gs://bucket/x.tsv]}").ingest.files
    assert files == {"train": ["part-*.tsv", "gs://bucket/x.tsv"]}
    load(MINIMAL, "ingest={format: text, files: {train: {text: part-1.tsv, label: train.tsv}}}")


def test_flatten_names_scalars_by_their_path():
    nested = {"a": {"b": 1, "c": [True, {"d": None}]}, "e": "x", "empty": {}, "none": []}
    assert flatten(nested) == {"a.b": 1, "a.c.0": True, "a.c.1.d": None, "e": "x"}


def test_flat_paths_are_what_set_takes():
    config = load(MINIMAL, "evaluate.bless={accuracy: {min: 0.5}}", "ingest.columns={text: a, label: b}")
    flat = flatten(resolved(config))
    assert flat["evaluate.metrics.0"] == "accuracy"
    assert flat["evaluate.bless.accuracy.min"] == 0.5
    assert (
        load(resolved(config), *(f"{path}={value}" for path, value in flat.items() if value is not None))
        == config
    )


def test_it_loads_without_anything_heavy():
    heavy = ["tensorflow", "keras", "apache_beam", "mlflow", "numpy", "pyarrow"]
    code = f"import sys, pipeline.config; print([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Properties


def values(node: dict) -> st.SearchStrategy:
    """Values that the schema allows at a place."""
    options = node.get("anyOf") or node.get("oneOf")
    if options:
        return st.one_of([values(option) for option in options])
    if "const" in node or "enum" in node:
        return st.sampled_from(node.get("enum", [node.get("const")]))
    match node["type"]:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(max(node.get("minimum", 0), node.get("exclusiveMinimum", -1) + 1), 10**6)
        case "number":
            low = node.get("minimum", node.get("exclusiveMinimum"))
            high = node.get("maximum", node.get("exclusiveMaximum"))
            bounds = {"exclude_min": "exclusiveMinimum" in node, "exclude_max": "exclusiveMaximum" in node}
            return st.floats(low, high, allow_nan=False, allow_infinity=False, **bounds)
        case "array":
            unique = node.get("uniqueItems", False)
            return st.lists(
                values(node["items"]), min_size=node.get("minItems", 0), max_size=3, unique=unique
            )
        case "string":
            return st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
    keys = {key: values(child) for key, child in node.get("properties", {}).items()}
    required = {key: keys.pop(key) for key in node.get("required", [])}
    return st.fixed_dictionaries(required, optional=keys)


def section(*path: str) -> st.SearchStrategy:
    node = shape()
    for key in path:
        node = node["properties"][key]
    return values(node)


def that_fits(encoder: dict) -> dict:
    """Nearly no periods, and few coupled gates, drawn by the schema alone would be accepted."""
    if encoder["type"] == "lstm" and encoder.get("coupled"):
        return {**encoder, "gates": ["forget", "input"]}
    if encoder["type"] != "clockwork_rnn":
        return encoder
    return {**encoder, "units": 5, "periods": sorted(set(encoder.get("periods", [1])))}


@st.composite
def configurations(draw: st.DrawFn) -> dict:
    task = draw(st.sampled_from(sorted(FIELDS)))
    metrics = st.sampled_from(metric_names(task))
    data = {
        "name": draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,20}\Z")),
        "task": task,
        "seed": draw(section("seed")),
        "ingest": {"files": {"train": "train.tsv"}, "max_rejected": draw(section("ingest", "max_rejected"))},
        "model": {"encoder": draw(section("model", "encoder").map(that_fits))},
        "evaluate": {
            "metrics": draw(st.lists(metrics)),
            "bless": {
                **draw(st.dictionaries(metrics, st.just({"min": 0.5, "max": 1}))),
                **draw(st.sampled_from([{}, {"on": "test"}, {"on": "validation"}])),
            },
        },
    }
    for name in ("train", "export", "tracking", "runner"):
        data[name] = draw(section(name))
    if "shared_files" in data["runner"]:
        data["runner"]["shared_files"] = True  # root and data are local
    if "options" in data["runner"]:
        data["runner"]["options"] = {"job_endpoint": "localhost:8073", "labels": ["a=b"], "worker_count": 2}
    texts = ("text",) if task == "classification" else ("source", "target")
    tokenizers = draw(section("tokenize", "text").filter(bool))
    data["tokenize"] = dict.fromkeys(texts, tokenizers)
    if task == "seq2seq":
        data["decode"] = draw(section("decode"))
        data["model"]["decoder"] = draw(section("model", "decoder").filter(bool))
        data["model"]["attention"] = draw(section("model", "attention"))
    return data


@quick
@given(configurations())
def test_what_is_resolved_loads_again_as_the_same(data: dict):
    try:
        config = load(data)
    except ConfigError:  # Keys that each fit the schema, but not each other: about one draw in five.
        reject()
    assert load(resolved(config)) == config
    assert all(isinstance(value, str | int | float | None) for value in flatten(resolved(config)).values())


def mappings(value: object, path: tuple = ()) -> list[tuple[tuple, dict]]:
    """All mappings with fixed keys in a configuration, with the paths to them."""
    if not isinstance(value, dict) or path in (
        ("ingest", "columns"),
        ("ingest", "keep"),
        ("runner", "options"),
    ):
        return []
    return [(path, value)] + [
        mapping for key, inner in value.items() for mapping in mappings(inner, (*path, key))
    ]


@st.composite
def slips(draw: st.DrawFn, word: str) -> str:
    """`word` with one letter left out, doubled, changed or swapped with the next."""
    at = draw(st.integers(0, len(word) - 2))
    letter = draw(st.sampled_from("aeghklmoqrtuwxyz_"))
    middle = draw(st.sampled_from(["", word[at] * 2, letter]))
    swapped = draw(st.booleans())
    return word[:at] + (word[at + 1] + word[at] + word[at + 2 :] if swapped else middle + word[at + 1 :])


@quick
@given(st.data())
def test_a_slip_of_a_key_finds_the_key_that_was_meant(data: st.DataObject):
    task = data.draw(st.sampled_from(sorted(FIELDS)))
    whole = resolved(load(MINIMAL, f"task={task}", "train.early_stopping={}"))
    path, mapping = data.draw(st.sampled_from(mappings(whole)))
    key = data.draw(st.sampled_from([key for key in mapping if len(key) >= 4] or ["type"]))
    slip = data.draw(slips(key))
    assume(key in mapping and slip not in mapping)
    nearness = {known: SequenceMatcher(None, slip, known).ratio() for known in mapping}
    assume(all(nearness[known] < nearness[key] for known in mapping if known != key))
    mapping[slip] = mapping.pop(key)
    with pytest.raises(ConfigError) as caught:
        load(whole)
    assert len(caught.value.problems) == 1
    assert f"{'.'.join((*path, slip))}: unknown key; did you mean '{key}'? known: " in str(caught.value)


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "gru", "128", "auto", "a b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "train", "units", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(quick, max_examples=150)
@given(st.data(), junk)
def test_any_value_anywhere_is_taken_or_told_plainly(data: st.DataObject, value: object):
    task = data.draw(st.sampled_from(sorted(FIELDS)))
    whole = resolved(load(MINIMAL, f"task={task}"))
    _, mapping = data.draw(st.sampled_from(mappings(whole)))
    mapping[data.draw(st.sampled_from(sorted(mapping)))] = value
    try:
        config = load(whole)
    except ConfigError as error:
        problems = error.problems
    else:
        assert load(resolved(config)) == config
        return
    places = [problem.split(": ")[1] for problem in problems]
    assert len(places) == len(set(places))
    for jargon in ("Input should", "[key]", "literal[", "dict[", "function-", "constrained", "pydantic"):
        assert jargon not in "".join(problems)
