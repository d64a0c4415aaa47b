import dataclasses
import io

import pytest

from pipeline.config import load_config
from pipeline.plan import planning
from pipeline.plan.planning import make_plan
from pipeline.run.console import plan_table
from pipeline.store.store import Store

YAML = """\
name: plan
task: classification
root: {root}
ingest: {{files: {data}}}
model: {{encoder: {{type: gru, units: 4}}}}
train: {{epochs: 1}}
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "data.tsv").write_text("text\tlabel\na\tb\n", encoding="utf-8")
    path = tmp_path / "pipeline.yaml"
    path.write_text(YAML.format(root=tmp_path / "runs", data=tmp_path / "data.tsv"), encoding="utf-8")
    return tmp_path


def planned(place, *overrides, **arguments):
    return make_plan(load_config(place / "pipeline.yaml", overrides), Store(place / "runs"), **arguments)


def carry_out(place, plans):
    """Commits an artifact for every stage, as a run would."""
    store = Store(place / "runs")
    for plan in plans:
        staging = store.staging(plan.stage.name)
        (staging / "file").write_text("content", encoding="utf-8")
        store.commit(staging, plan.stage.name, plan.key, plan.ingredients, {}, 1.0, replaces=plan.replaces)


def states(plans):
    return {plan.stage.name: "runs" if plan.runs else "reused" for plan in plans}


def reasons(plans):
    return {plan.stage.name: plan.reason for plan in plans}


def test_at_first_everything_runs_and_then_nothing(place):
    first = planned(place)
    assert set(states(first).values()) == {"runs"}
    assert set(reasons(first).values()) == {"first run"}
    carry_out(place, first)
    second = planned(place)
    assert set(states(second).values()) == {"reused"}
    assert [plan.key for plan in second] == [plan.key for plan in first]
    assert all(plan.reason.startswith("same key, made 20") for plan in second)


def test_a_changed_setting_reruns_its_stage_and_what_builds_on_it(place):
    carry_out(place, planned(place))
    changed = planned(place, "train.epochs=2")
    assert states(changed) == {
        "ingest": "reused",
        "tokenize": "reused",
        "train": "runs",
        "evaluate": "runs",
        "export": "runs",
    }
    assert reasons(changed)["train"] == "train.epochs: 1 -> 2"
    assert reasons(changed)["evaluate"] == "train differs"


@pytest.mark.parametrize(
    ("override", "first", "reason"),
    [
        ("ingest.max_characters=5", "ingest", "ingest.max_characters: 10000 -> 5"),
        ("tokenize={text: {type: words}}", "tokenize", None),
        ("seed=8", "train", "seed: 7 -> 8"),
        ("model.encoder.units=8", "train", "model.encoder.units: 4 -> 8"),
        ("evaluate.resamples=9", "evaluate", "evaluate.resamples: 1000 -> 9"),
        ("export.replay_examples=99", "export", "export.replay_examples: 64 -> 99"),
    ],
)
def test_each_setting_reaches_the_stage_it_shapes_and_none_before(place, override, first, reason):
    carry_out(place, planned(place))
    changed = planned(place, override)
    running = [name for name, state in states(changed).items() if state == "runs"]
    assert running[0] == first
    assert running == [plan.stage.name for plan in changed][-len(running) :]
    assert reason is None or reasons(changed)[first] == reason


@pytest.mark.parametrize(
    "override",
    [
        "export.directory=elsewhere",
        "export.keep_versions=2",
        "tracking.enabled=false",
        "evaluate.bless={accuracy: {min: 0.5}}",
    ],
)
def test_where_things_go_and_what_is_good_enough_is_in_no_key(place, override):
    carry_out(place, planned(place))
    assert set(states(planned(place, override)).values()) == {"reused"}


def test_data_count_by_their_content_and_not_by_their_place(place):
    carry_out(place, planned(place))
    (place / "data.tsv").rename(place / "moved.tsv")
    assert set(states(planned(place, f"ingest.files={place / 'moved.tsv'}")).values()) == {"reused"}
    with (place / "moved.tsv").open("a", encoding="utf-8") as file:
        file.write("c\td\n")
    changed = planned(place, f"ingest.files={place / 'moved.tsv'}")
    assert reasons(changed)["ingest"] == "the train files differ"
    assert set(states(changed).values()) == {"runs"}


def test_files_that_change_splits_are_another_key(place):
    (place / "other.tsv").write_text("text\tlabel\nc\td\n", encoding="utf-8")
    a, b = place / "data.tsv", place / "other.tsv"
    carry_out(place, planned(place, f"ingest.files={{train: {a}, test: {b}}}"))
    swapped = planned(place, f"ingest.files={{train: {b}, test: {a}}}")
    assert reasons(swapped)["ingest"] == "the test files differ; the train files differ"


def test_source_code_and_libraries_are_in_the_key(place, monkeypatch):
    carry_out(place, planned(place))
    fingerprint = planning.source_fingerprint
    monkeypatch.setattr(
        planning,
        "source_fingerprint",
        lambda module: "other" if module.startswith("components.export") else fingerprint(module),
    )
    assert reasons(planned(place))["export"] == "the stage's source code differs"
    monkeypatch.setattr(planning, "library_versions", lambda names: dict.fromkeys(names, "0.1"))
    assert reasons(planned(place))["ingest"].startswith("apache-beam ")
    assert reasons(planned(place))["ingest"].split(";")[0].endswith(" -> 0.1")


def test_many_differences_are_cut_short(place):
    carry_out(place, planned(place))
    changed = planned(place, "train.epochs=2", "seed=1", "train.batch_size=7", "model.embedding_size=9")
    assert reasons(changed)["train"].endswith("; and 1 more")


def test_a_damaged_artifact_is_made_anew(place):
    plans = planned(place)
    carry_out(place, plans)
    artifact = Store(place / "runs").find("tokenize", plans[1].key)
    (artifact.directory / "file").unlink()
    damaged = planned(place)
    assert reasons(damaged)["tokenize"] == "the artifact is damaged: file is missing"
    assert states(damaged)["train"] == "reused"
    carry_out(place, [plan for plan in damaged if plan.runs])
    assert set(states(planned(place)).values()) == {"reused"}


def test_force_runs_a_stage_and_what_builds_on_it(place):
    carry_out(place, planned(place))
    forced = planned(place, force=["train"])
    assert states(forced)["tokenize"] == "reused"
    assert reasons(forced)["train"] == "forced"
    assert reasons(forced)["evaluate"] == "forced, with train"
    assert reasons(forced)["export"] == "forced, with train"
    assert all(plan.replaces and plan.forced for plan in forced if plan.runs)


def test_how_a_file_is_read_counts_as_well(place):
    carry_out(place, planned(place))
    (place / "data.tsv").rename(place / "data.csv")
    changed = planned(place, f"ingest.files={place / 'data.csv'}")
    assert reasons(changed)["ingest"] == "the train files differ"


def test_the_reason_is_told_by_the_likest_artifact_of_the_task(place):
    carry_out(place, planned(place))
    carry_out(place, planned(place, "train.epochs=5", "model.encoder.units=9", "train.batch_size=3"))
    assert reasons(planned(place, "train.epochs=2"))["train"] == "train.epochs: 1 -> 2"
    other = planned(place, "task=seq2seq", "ingest.columns={source: text, target: label}")
    assert set(reasons(other).values()) == {"first run"}


def test_until_ends_the_plan(place):
    assert list(states(planned(place, until="tokenize"))) == ["ingest", "tokenize"]


def test_the_table_says_stage_key_state_and_reason(place):
    from rich.console import Console

    plans = planned(place)
    carry_out(place, plans[:1])
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(plan_table(planned(place)))
    lines = console.export_text().splitlines()
    assert lines[0].split() == ["stage", "key", "why"]
    assert lines[1].split()[:3] == ["ingest", plans[0].key[:12], "reused"]
    assert lines[2].split()[:3] == ["tokenize", plans[1].key[:12], "runs"]


def test_the_key_is_the_hash_of_the_ingredients_alone(place):
    first, again = planned(place), planned(place)
    assert [dataclasses.replace(plan, artifact=None) for plan in first] == again
