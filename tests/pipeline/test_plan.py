import io
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from made_nodes import carry_out
from rich.console import Console

from components import files
from components.artifacts.tokens import Tokens
from components.errors import UserError
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import check_data, make_plan
from pipeline.run.console import plan_table
from pipeline.stages import stage
from pipeline.store.store import Store

STAGES = ["ingest", "tokenize", "train", "evaluate", "export"]

YAML = """\
name: plan
task: classification
root: {folder}/runs
ingest:
  files: {{train: {folder}/train.tsv, validation: {folder}/validation.tsv, test: {folder}/test.tsv}}
model: {{encoder: {{type: gru, units: 4}}}}
train: {{epochs: 1, learning_rate_schedule: constant}}
"""


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.tsv").write_text(f"text\tlabel\tsource\n{split}\tb\tc\n", encoding="utf-8")
    (tmp_path / "pipeline.yaml").write_text(YAML.format(folder=tmp_path), encoding="utf-8")
    return tmp_path


def planned(folder, *overrides, **arguments):
    config = load_config(folder / "pipeline.yaml", overrides)
    places = Places.of(config)
    return make_plan(config, places, Store(places.root), **arguments)


def store_of(folder):
    return Store(files.resolve(folder / "runs"))


def run(folder, *overrides, content="content", **arguments):
    return carry_out(store_of(folder), planned(folder, *overrides, **arguments), content)


def states(plans):
    return {plan.name: "runs" if plan.runs else "reused" for plan in plans}


def running(plans):
    return [plan.name for plan in plans if plan.runs]


def reasons(plans):
    return {plan.name: plan.reason for plan in plans}


def keys(plans):
    return {plan.name: plan.key for plan in plans}


def edit(folder, split):
    with (folder / f"{split}.tsv").open("a", encoding="utf-8") as file:
        file.write("more\tb\tc\n")


def test_at_first_everything_runs_and_then_nothing(folder):
    first = planned(folder)
    assert running(first) == STAGES
    assert set(reasons(first).values()) == {"first run"}
    run(folder)
    second = planned(folder)
    assert running(second) == []
    assert not any(plan.in_job for plan in second)
    assert keys(second) == keys(first)
    assert all(plan.reason.startswith("same key, made 20") for plan in second)
    assert {plan.number for plan in second} == {1}


def test_a_plan_is_the_same_every_time(folder):
    assert [replace(plan, data=None) for plan in planned(folder)] == [
        replace(plan, data=None) for plan in planned(folder)
    ]


# What a key covers.


@pytest.mark.parametrize(
    ("override", "runs", "reason"),
    [
        ("ingest.max_characters=5", STAGES, "ingest.max_characters: 10000 -> 5"),
        ("tokenize={text: {type: words}}", STAGES[1:], None),
        ("seed=8", STAGES[2:], "seed: 7 -> 8"),
        ("model.encoder.units=8", STAGES[2:], "model.encoder.units: 4 -> 8"),
        ("train.epochs=2", STAGES[2:], "train.epochs: 1 -> 2"),
        ("evaluate.batch_size=9", STAGES[3:], "evaluate.batch_size: 128 -> 9"),
        ("evaluate.resamples=9", ["evaluate"], "evaluate.resamples: 1000 -> 9"),
        ("evaluate.calibrate=temperature", STAGES[3:], 'evaluate.calibrate: null -> "temperature"'),
        ("evaluate.target_accuracy=0.9", ["evaluate"], "evaluate.target_accuracy: null -> 0.9"),
        ("export.replay_examples=99", ["export"], "export.replay_examples: 64 -> 99"),
    ],
)
def test_each_setting_reaches_what_it_shapes_and_nothing_else(folder, override, runs, reason):
    before = run(folder)
    changed = planned(folder, override)
    own = [plan.name for plan in changed if plan.key != before[plan.name].manifest.key]
    assert own == runs
    assert running(changed) == runs
    assert reason is None or reasons(changed)[runs[0]] == reason


@pytest.mark.parametrize(
    "override",
    [
        "export.directory=elsewhere",
        "export.keep_versions=2",
        "tracking.enabled=false",
        "evaluate.bless={accuracy: {min: 0.5}}",
        "ingest.holdout={validation: 0.3}",  # these splits have files of their own
        "runner.type=processes",
        "train.resources={min_ram: 8GB, cpus: 4}",
        "name=other",
    ],
)
def test_where_things_go_and_what_is_good_enough_is_in_no_key(folder, override):
    run(folder)
    assert running(planned(folder, override)) == []


def test_another_test_file_reaches_what_reads_the_test_split(folder):
    before = run(folder)
    edit(folder, "test")
    changed = planned(folder)
    assert running(changed) == ["ingest", "tokenize", "evaluate", "export"]
    assert reasons(changed)["ingest"] == "the test files differ"
    assert reasons(changed)["tokenize"] == "ingest differs (test)"
    by_name = {plan.name: plan for plan in changed}
    assert by_name["train"].key == before["train"].manifest.key
    assert by_name["train"].artifact.manifest == before["train"].manifest
    # That the others come out as before is foreseen, and seen to while the job runs.
    assert by_name["train"].in_job
    assert not by_name["train"].settled


def test_another_test_file_that_changes_the_answers_is_exported_again(folder):
    run(folder)
    edit(folder, "test")

    def content(name):
        return "other" if name in ("predictions.jsonl", "metrics.json") or "test" in name else "content"

    made = run(folder, content=content)
    after = planned(folder)
    assert running(after) == []
    assert made["train"].manifest.number == 1
    assert len(store_of(folder).made("train", made["train"].manifest.key)) == 1
    assert len(files.names(files.resolve(folder / "runs" / "artifacts" / "export"))) == 2 + 1  # and digests


@pytest.mark.parametrize("split", ["train", "validation"])
def test_another_training_or_validation_file_trains_again(folder, split):
    run(folder)
    edit(folder, split)
    changed = planned(folder)
    assert running(changed) == STAGES
    assert reasons(changed)["ingest"] == f"the {split} files differ"
    assert split in reasons(changed)["train"]


def test_floors_are_of_the_train_split_which_shapes_no_answer(folder):
    run(folder)
    assert planned(folder)["evaluate"].reads["ingest"].parts == ("train", "validation", "test", "kept")
    edit(folder, "train")
    changed = {plan.name: plan for plan in planned(folder)}["evaluate"]
    assert changed.reason.startswith("ingest differs (kept, train)")
    shaping = changed.stage.parts(changed.config, changed.ingredients)["predictions"]
    assert "ingest train" not in shaping.upstream
    assert "evaluate.baseline" not in shaping.settings


def test_what_is_kept_reaches_ingest_and_evaluate_only(folder):
    before = run(folder)
    changed = planned(folder, "ingest.keep={origin: source}")
    assert running(changed) == ["ingest", "evaluate"]
    assert reasons(changed)["ingest"] == 'ingest.keep.origin: absent -> "source"'
    assert reasons(changed)["evaluate"] == "ingest differs (kept)"
    same = {plan.name: plan.key == before[plan.name].manifest.key for plan in changed}
    assert same == {"ingest": False, "tokenize": True, "train": True, "evaluate": False, "export": True}


def test_how_much_may_be_rejected_reaches_ingest_at_most(folder):
    run(folder)
    assert running(planned(folder, "ingest.max_rejected=0.5")) == ["ingest"]


def test_what_splits_that_are_given_are_checked_by_reaches_ingest_alone(folder):
    run(folder)
    assert running(planned(folder, "ingest.split={type: group, column: source}")) == ["ingest"]
    assert running(planned(folder, "ingest.split=hash")) == []


def test_what_splits_are_taken_by_reaches_what_reads_them(folder):
    own = f"ingest.files={{train: {folder}/train.tsv, test: {folder}/test.tsv}}"
    before = run(folder, own)
    assert running(planned(folder, own, "ingest.split=hash")) == []
    changed = planned(folder, own, "ingest.split=stratified")
    assert running(changed) == STAGES
    assert reasons(changed)["ingest"] == 'ingest.split.type: absent -> "stratified"'
    assert "ingest.split.type" not in before["ingest"].manifest.ingredients["settings"]
    assert (
        reasons(changed)["train"] == "tokenize differs (train, validation)"
        or "train" in reasons(changed)["train"]
    )


def test_splits_without_files_of_their_own_follow_the_training_files_and_the_fractions(folder):
    files_of_train = f"ingest.files={folder}/train.tsv"
    run(folder, files_of_train)
    edit(folder, "test")
    edit(folder, "validation")
    assert running(planned(folder, files_of_train)) == []
    assert running(planned(folder, files_of_train, "ingest.holdout={test: 0.3}")) == STAGES
    own = f"ingest.files={{train: {folder}/train.tsv, test: {folder}/test.tsv}}"
    run(folder, own)
    assert running(planned(folder, own, "ingest.holdout={test: 0.3, validation: 0.1}")) == []
    assert running(planned(folder, own, "ingest.holdout={validation: 0.3}")) == STAGES
    edit(folder, "train")
    assert running(planned(folder, own)) == STAGES


def test_data_count_by_their_content_and_not_by_their_place(folder):
    run(folder)
    (folder / "train.tsv").rename(folder / "moved.tsv")
    moved = f"ingest.files.train={folder / 'moved.tsv'}"
    assert running(planned(folder, moved)) == []


def test_how_a_file_is_read_counts_as_well(folder):
    run(folder)
    table = (folder / "test.tsv").read_text(encoding="utf-8")
    (folder / "test.csv").write_text(table.replace("\t", ","), encoding="utf-8")
    changed = planned(folder, f"ingest.files.test={folder / 'test.csv'}")
    assert reasons(changed)["ingest"] == "the test files differ"


def test_files_that_change_splits_are_another_key(folder):
    a, b = folder / "train.tsv", folder / "test.tsv"
    run(folder)
    swapped = planned(folder, f"ingest.files.train={b}", f"ingest.files.test={a}")
    assert reasons(swapped)["ingest"] == "the test files differ; the train files differ"


def test_an_edit_of_data_that_keeps_size_and_time_is_noticed(folder):
    run(folder)
    before = (folder / "test.tsv").stat()
    time.sleep(0.02)  # what the clock of the file system needs to move on
    (folder / "test.tsv").write_text("text\tlabel\tsource\ntset\tb\tc\n", encoding="utf-8")
    os.utime(folder / "test.tsv", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reasons(planned(folder))["ingest"] == "the test files differ"


def test_source_code_and_libraries_are_in_the_key(folder, monkeypatch):
    run(folder)
    fingerprint = stage.source_fingerprint
    monkeypatch.setattr(
        stage,
        "source_fingerprint",
        lambda module: "other" if module.startswith("components.export") else fingerprint(module),
    )
    assert running(planned(folder)) == ["export"]
    assert reasons(planned(folder))["export"] == "the stage's source code differs"
    monkeypatch.setattr(stage, "library_versions", lambda names: dict.fromkeys(names, "0.1"))
    said = reasons(planned(folder))["ingest"].split(";")[0]
    assert said.startswith("apache-beam ")
    assert said.endswith(" -> 0.1")


# Which artifact of a key.


def test_force_makes_another_artifact_and_so_does_what_builds_on_it(folder):
    run(folder)
    forced = planned(folder, force=["train"])
    assert running(forced) == STAGES[2:]
    assert reasons(forced)["train"] == "forced"
    assert reasons(forced)["evaluate"] == "forced, with train"
    assert reasons(forced)["export"] == "forced, with train"
    assert {plan.name: plan.number for plan in forced} == {
        "ingest": 1,
        "tokenize": 1,
        "train": 2,
        "evaluate": 2,
        "export": 2,
    }
    made = run(folder, content="other", force=["train"])
    assert made["train"].manifest.number == 2
    after = planned(folder)
    assert running(after) == []
    assert after.nodes[2].artifact.manifest == made["train"].manifest
    assert planned(folder, force=["train"]).nodes[2].number == 3


def test_forcing_what_was_never_made_makes_the_first(folder):
    assert {plan.number for plan in planned(folder, force=["ingest"])} == {1}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"c"), "has 1 bytes instead of 7"),
        (lambda path: path.write_bytes(b"CONTENT"), "was changed after it was made"),
    ],
)
def test_a_damaged_artifact_is_named_and_rebuilt(folder, harm, said):
    made = run(folder)
    harm(files.local(made["tokenize"].place("statistics.json")))
    damaged = planned(folder)
    assert running(damaged) == ["tokenize"]
    assert reasons(damaged)["tokenize"] == f"the artifact is damaged: statistics.json {said}"
    assert [plan.number for plan in damaged] == [1, 2, 1, 1, 1]
    # Its parts are expected to come out as they were, and what reads them waits for that.
    assert [plan.name for plan in damaged if plan.in_job] == STAGES[1:]
    carry_out(store_of(folder), damaged)
    assert running(planned(folder)) == []


def test_what_comes_out_otherwise_when_it_is_rebuilt_reaches_what_reads_it(folder):
    made = run(folder)
    files.delete([made["tokenize"].place("statistics.json")])
    store = store_of(folder)
    carry_out(store, planned(folder).nodes[:2], lambda name: "other" if "train" in name else "content")
    changed = planned(folder)
    assert running(changed)[0] == "train"
    assert reasons(changed)["train"] == "what it reads was rebuilt, with other files"
    assert all(plan.in_job for plan in changed.nodes[2:])
    # Two have been seen: what will come out is not foreseen any more.
    assert store.known_digest("tokenize", changed.nodes[1].part_keys["train"]) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_an_unreadable_manifest_is_damage_with_a_reason(folder, content):
    made = run(folder)
    files.write(made["train"].reference.manifest, content)
    damaged = planned(folder)
    assert running(damaged) == ["train"]
    assert reasons(damaged)["train"].startswith("the artifact is damaged: its manifest cannot be read: ")
    assert damaged.nodes[2].number == 2
    carry_out(store_of(folder), damaged)
    assert running(planned(folder)) == []


def test_figures_of_one_training_are_never_put_beside_another(folder):
    run(folder)
    store = store_of(folder)
    plans = planned(folder, force=["train"])
    carry_out(store, plans.nodes[:3], "other")  # and evaluate was killed
    after = planned(folder)
    assert running(after) == ["evaluate", "export"]
    weights = after.nodes[2].artifact.manifest.digests["model"]
    made = carry_out(store, after)
    assert made["evaluate"].manifest.read["train model"] == weights
    assert made["export"].manifest.read["train model"] == weights


# What people are told.


def test_many_differences_are_cut_short(folder):
    run(folder)
    changed = planned(folder, "train.epochs=2", "seed=1", "train.batch_size=7", "model.embedding_size=9")
    assert reasons(changed)["train"].endswith("; and 1 more")


def test_the_reason_is_told_by_the_likest_artifact_of_the_task(folder):
    run(folder)
    run(folder, "train.epochs=5", "model.encoder.units=9", "train.batch_size=3")
    assert reasons(planned(folder, "train.epochs=2"))["train"] == "train.epochs: 1 -> 2"
    other = planned(folder, "task=seq2seq", "ingest.columns={source: text, target: label}")
    assert set(reasons(other).values()) == {"first run"}


def test_until_ends_the_plan(folder):
    assert list(states(planned(folder, until="tokenize"))) == ["ingest", "tokenize"]


def test_the_table_says_stage_key_state_and_reason(folder):
    plans = planned(folder)
    carry_out(store_of(folder), plans.nodes[:1])
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(plan_table(planned(folder)))
    lines = console.export_text().splitlines()
    assert lines[0].split() == ["stage", "key", "why"]
    assert lines[1].split()[:3] == ["ingest", plans.nodes[0].key, "reused"]
    assert lines[2].split()[:3] == ["tokenize", plans.nodes[1].key, "runs"]


# The name of a training up to any epoch.


def lineage(folder, *overrides):
    return planned(folder, *overrides, until="train").nodes[2].lineage


def test_a_training_goes_on_after_its_last_epoch(folder):
    before = lineage(folder)
    assert before
    assert lineage(folder, "train.epochs=9") == before
    assert planned(folder, "train.epochs=9").nodes[2].key != planned(folder).nodes[2].key
    for override in ("seed=8", "train.batch_size=9", "model.encoder.units=9", "ingest.max_characters=5"):
        assert lineage(folder, override) != before
    assert {plan.lineage for plan in planned(folder) if plan.name != "train"} == {""}


def test_a_training_whose_epochs_depend_on_the_last_one_does_not(folder):
    cosine = "train.learning_rate_schedule=cosine"
    assert lineage(folder, cosine) == lineage(folder, cosine)
    assert lineage(folder, cosine, "train.epochs=9") != lineage(folder, cosine)


@pytest.mark.parametrize(
    ("setting", "spans"),
    [
        ("train.learning_rate_schedule=linear", True),
        ("train.learning_rate_schedule={type: constant, warmup_steps: 9}", False),
        ("train.learning_rate_schedule=inverse_sqrt", False),
        ("train.learning_rate_schedule=plateau", False),
        ("train.monitor=accuracy", False),
        ("train.validate_every={steps: 9}", False),
    ],
)
def test_more_epochs_go_on_or_start(folder, setting, spans):
    assert (lineage(folder, setting, "train.epochs=9") != lineage(folder, setting)) is spans


def test_the_plan_says_why_more_epochs_train_from_the_start(folder):
    run(folder, "train.learning_rate_schedule=cosine")
    said = reasons(planned(folder, "train.learning_rate_schedule=cosine", "train.epochs=6"))["train"]
    why = "trains from the start, as train.learning_rate_schedule is cosine, which spans all epochs"
    assert said == f"train.epochs: 1 -> 6; {why}"
    run(folder, "train.learning_rate_schedule=plateau")
    said = reasons(planned(folder, "train.learning_rate_schedule=plateau", "train.epochs=6"))["train"]
    assert said == "train.epochs: 1 -> 6"
    said = reasons(planned(folder, "train.learning_rate_schedule=cosine", "train.batch_size=6"))["train"]
    assert said == "train.batch_size: 64 -> 6"


def test_a_word_and_its_section_are_the_same_setting(folder):
    word, section = (
        planned(folder, f"train.learning_rate_schedule={written}").nodes[2].key
        for written in ("cosine", "{type: cosine, warmup_steps: 0}")
    )
    assert word == section


# What a training reads that is monitored by a metric of evaluate.

SEQ2SEQ = ("task=seq2seq", "ingest.columns={source: source, target: label}", "model.decoder={type: gru}")


def test_only_such_a_training_reads_raw_texts_and_decodes(folder):
    plain, measured = (
        planned(folder, *SEQ2SEQ, f"train.monitor={monitor}").nodes[2] for monitor in ("loss", "exact_match")
    )
    parts = {name: read.parts for name, read in plain.reads.items()}
    assert parts == {"tokenize": ("vocabulary", "train", "validation")}
    assert {name: read.parts for name, read in measured.reads.items()} == {"ingest": ("validation",), **parts}
    assert not any(name.startswith("decode") for name in plain.ingredients.settings)
    assert {name for name in measured.ingredients.settings if name.startswith("decode")} == {
        "decode.min_length",
        "decode.max_decoding_length",
        "decode.no_repeat_ngram_size",
        "decode.prefix",
    }
    assert measured.ingredients.source != plain.ingredients.source


@pytest.mark.parametrize(
    ("override", "matters"),
    [
        ("decode.max_decoding_length=9", True),
        ("decode.prefix=a", True),
        ("decode.beam_size=9", False),
        ("decode.length_penalty=0.1", False),
        ("evaluate.batch_size=9", False),
    ],
)
def test_what_of_decoding_shapes_such_a_training(folder, override, matters):
    for monitor, changes in (("exact_match", matters), ("loss", False)):
        settings = (*SEQ2SEQ, f"train.monitor={monitor}")
        before, after = (planned(folder, *each).nodes[2].key for each in (settings, (*settings, override)))
        assert (before != after) is changes


def test_the_code_of_evaluate_matters_to_such_a_training_only(folder, monkeypatch):
    before, read_bytes = {}, Path.read_bytes
    for monitor in ("loss", "accuracy"):
        before[monitor] = planned(folder, f"train.monitor={monitor}").nodes[2].key

    def read(path):
        return read_bytes(path) + (b"#" if path.name == "metrics.py" else b"")

    monkeypatch.setattr(Path, "read_bytes", read)
    assert planned(folder, "train.monitor=loss").nodes[2].key == before["loss"]
    assert planned(folder, "train.monitor=accuracy").nodes[2].key != before["accuracy"]


# How it starts.


@pytest.mark.parametrize("module", ["pipeline.plan.planning", "pipeline.store.clean"])
def test_planning_imports_nothing_heavy(module):
    heavy = ("tensorflow", "apache_beam", "mlflow", "pyarrow", "numpy", "s3fs", "gcsfs", "aiohttp", "pandas")
    program = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_plan_imports_nothing_heavy(folder):
    run(folder)
    program = (
        "import pathlib, sys; from pipeline.config import load_config\n"
        "from pipeline.config.places import Places\n"
        "from pipeline.plan.planning import make_plan; from pipeline.store.store import Store\n"
        f"config = load_config(pathlib.Path({str(folder / 'pipeline.yaml')!r})); places = Places.of(config)\n"
        "plans = make_plan(config, places, Store(places.root))\n"
        "assert not any(plan.in_job for plan in plans)\n"
        "heavy = ('tensorflow', 'apache_beam', 'mlflow', 'pyarrow', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_another_type_is_the_first_reason(folder):
    run(folder)
    changed = planned(folder, "model.encoder={type: lstm, units: 9, dropout: 0.1}", "train.batch_size=3")
    assert reasons(changed)["train"].startswith('model.encoder.type: "gru" -> "lstm"; ')


def test_what_changed_is_told_by_the_same_pipeline_s_runs(folder):
    """A run of another pipeline may be nearer, but is not what its user has in mind."""
    own = ["model.encoder.units=5", "seed=9"]
    run(folder, *own)
    run(folder, "model.encoder.units=6")
    asked = ["model.encoder.units=7"]
    assert reasons(planned(folder, *asked))["train"] == "model.encoder.units: 6 -> 7"
    earlier = frozenset(plan.key for plan in planned(folder, *own))
    told = reasons(planned(folder, *asked, earlier=lambda: earlier))
    assert told["train"].startswith("model.encoder.units: 5 -> 7; ")


def test_a_name_without_runs_is_compared_with_nothing_and_reuses_all_the_same(folder):
    run(folder, "ingest.columns={label: source}")
    run(folder, "model.encoder.units=6")
    new = planned(folder, "name=new", "model.encoder.units=7", earlier=frozenset)
    assert {name: state for name, state in states(new).items() if state == "reused"} == {
        "ingest": "reused",
        "tokenize": "reused",
    }
    assert {reasons(new)[name] for name in STAGES[2:]} == {"first run of this name"}
    other = planned(folder, "name=new", "ingest.max_characters=9", earlier=frozenset)
    assert set(reasons(other).values()) == {"first run of this name"}


def test_a_weight_for_an_unknown_label_is_found_before_the_run(folder, monkeypatch):
    def check(*overrides):
        config = load_config(folder / "pipeline.yaml", overrides)
        check_data(config, Places.of(config), planned(folder, *overrides))

    weights = "train.class_weight={b: 2, nolabel: 3}"
    check(weights)  # nothing is known yet
    run(folder)
    monkeypatch.setattr(Tokens, "labels", lambda tokens: ["a", "b"])
    with pytest.raises(UserError, match=r"a weight for 'nolabel', expected labels .*: 'a', 'b'\."):
        check(weights)
    check("train.class_weight={b: 2}")
    check("train.class_weight=balanced")


def test_vectors_count_by_their_content_and_not_by_their_place(folder, monkeypatch):
    def with_vectors(name, *overrides):
        return keys(planned(folder, f"model.embeddings.file={folder / name}", *overrides))

    (folder / "a.txt").write_text("good 1 2 3\n", encoding="utf-8")
    (folder / "b.txt").write_text("good 1 2 3\n", encoding="utf-8")
    first, plain = with_vectors("a.txt"), keys(planned(folder, "model.embedding_size=3"))
    assert with_vectors("b.txt") == first
    assert [name for name in STAGES if first[name] != plain[name]] == ["train", "evaluate", "export"]
    run(folder, f"model.embeddings.file={folder}/a.txt")
    (folder / "a.txt").write_text("good 1 2 4\n", encoding="utf-8")
    changed = planned(folder, f"model.embeddings.file={folder}/a.txt")
    assert running(changed) == ["train", "evaluate", "export"]
    assert reasons(changed)["train"] == "the vector files differ"
    monkeypatch.chdir(folder)
    relative = planned(folder, "model.embeddings.file=a.txt")
    assert keys(relative) == keys(changed)
    (file,) = relative["train"].files.values()
    assert str(file.place) == str(folder / "a.txt")
    (folder / "a.txt").unlink()
    with pytest.raises(UserError, match=r"the vector file: there is no 'memory://a\.txt'; correct the path"):
        planned(folder, "model.embeddings.file=memory://a.txt")


def test_trials_have_vectors_of_their_own(folder):
    for name, content in (("a.txt", "good 1 2 3\n"), ("b.txt", "good 1 2 3 4\n")):
        (folder / name).write_text(content, encoding="utf-8")
    over = f"sweep={{over: {{model.embeddings.file: [{folder}/a.txt, {folder}/b.txt]}}}}"
    plan = planned(folder, over, "ingest.holdout={}")
    places = [str(file.place) for node in plan for file in node.files.values()]
    assert places[:2] == [str(folder / "a.txt"), str(folder / "b.txt")]


def test_auto_is_the_setting_whatever_it_becomes(folder):
    """Data decides what it becomes, and is in the key by itself."""
    plain = planned(folder)
    assert keys(planned(folder, "tokenize={}")) == keys(plain)
    assert keys(planned(folder, "tokenize={text: {type: auto}}")) == keys(plain)
    assert dict(plain["tokenize"].ingredients.settings)["tokenize.text.type"] == '"auto"'
    chosen = planned(folder, "tokenize={text: {type: words}}")
    assert chosen["tokenize"].key != plain["tokenize"].key
    before = plain["tokenize"].key
    edit(folder, "train")
    assert planned(folder)["tokenize"].key != before
