"""What a cross-validation trains, and what it refuses."""

import io

import pytest
import tiny
from rich.console import Console
from typer.testing import CliRunner

from components.errors import UserError
from pipeline.cli import app
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.crossval.command import cross_validate
from pipeline.crossval.folds import cross_validation
from pipeline.crossval.plan import plan_folds
from pipeline.plan.planning import make_plan
from pipeline.store.store import Store

POOLED = "ingest.files=[{0}/train.tsv, {0}/validation.tsv, {0}/test.tsv]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("folds")
    tiny.make(made)
    (made / "seq2seq.yaml").write_text(tiny.SEQ2SEQ.format(folder=made), encoding="utf-8")
    return made


def load(folder, *overrides, name="pipeline.yaml"):
    return load_config(folder / name, overrides)


def planned(config, folds=3, **arguments):
    made = cross_validation(config, folds, **arguments)
    places = Places.of(made.config)
    return plan_folds(made.trials, places, Store(places.root), parallel=1)


def test_a_fold_is_a_trial_that_tests_on_its_own_part(folder):
    made = cross_validation(load(folder, POOLED.format(folder)), 4)
    assert [trial.settings for trial in made.trials] == [{"fold": number} for number in (1, 2, 3, 4)]
    assert len({trial.id for trial in made.trials}) == len({trial.group for trial in made.trials}) == 4
    for number, trial in enumerate(made.trials, start=1):
        split = trial.config.ingest.split
        assert (split.type, split.folds, split.fold, split.stratified) == ("fold", 4, number, True)
        assert trial.config.sweep is None
    assert made.config.sweep.over == {"fold": [1, 2, 3, 4]}


def test_a_fold_has_all_stages_up_to_evaluate_and_shares_none(folder):
    plan = planned(load(folder, POOLED.format(folder)))
    assert [node.name for node in plan] == [
        f"{stage} fold-{number}"
        for stage in ("ingest", "tokenize", "train", "evaluate")
        for number in (1, 2, 3)
    ]
    assert len({node.key for node in plan}) == 12
    assert [node.parallel for node in plan if node.stage.name == "train"] == [1, 1, 1]
    assert not plan.picks
    assert not any(node.choices for node in plan)


def test_a_run_of_one_fold_has_the_keys_of_the_fold(folder):
    config = load(folder, POOLED.format(folder))
    fold = "ingest.split={type: fold, folds: 3, fold: 2, stratified: true}"
    places = Places.of(config)
    alone = make_plan(load(folder, POOLED.format(folder), fold), places, Store(places.root), until="evaluate")
    assert [node.key for node in alone] == [node.key for node in planned(config) if node.trial == "fold-2"]


def test_seq2seq_is_dealt_by_hash(folder):
    made = cross_validation(load(folder, name="seq2seq.yaml"), 2)
    split = made.trials[0].config.ingest.split
    assert (split.stratified, split.column) == (False, None)
    assert "by the hashes of the texts" in made.notes[0]


@pytest.mark.parametrize(
    ("overrides", "by", "stratified", "column"),
    [
        ((), None, True, None),
        (("ingest.split=stratified",), None, True, None),
        (("ingest.split=hash",), None, False, None),
        (("ingest.split={type: group, column: text}",), None, False, "text"),
        (
            ("ingest.split={type: group, column: text}",),
            "author",
            False,
            "author",
        ),
        (("ingest.columns={text: 0, label: 1}",), "2", False, 2),
    ],
)
def test_how_records_are_dealt(folder, overrides, by, stratified, column):
    split = (
        cross_validation(load(folder, POOLED.format(folder), *overrides), 2, by).trials[0].config.ingest.split
    )
    assert (split.stratified, split.column) == (stratified, column)


def test_of_named_files_train_is_dealt_and_test_is_left_alone(folder):
    made = cross_validation(load(folder), 3)
    assert set(made.trials[0].config.ingest.files) == {"train", "validation"}
    assert [source.split for source in Places.of(made.config).sources] == ["train", "validation"]
    notes = "\n".join(made.notes)
    assert "file of test is left alone" in notes
    assert "watched on the file of validation" in notes
    assert "of the other folds" not in notes


@pytest.mark.parametrize(
    ("overrides", "arguments", "message"),
    [
        ((), {"folds": 1}, "--folds received 1, expected 2 to 20"),
        ((), {"folds": 21}, "--folds received 21"),
        (("sweep={over: {model.encoder.units: [4, 8]}}",), {}, "measures one setting.*remove `sweep`"),
        (("ingest.split={type: time, column: text}",), {}, "trained on what came later"),
        (("ingest.split={type: fold, folds: 3, fold: 1}",), {}, "it is one fold already"),
        ((), {"by": "label"}, "--by: received 'label', which label is read from"),
        ((), {"by": ""}, "--by: received an empty text"),
    ],
)
def test_what_cannot_be_cross_validated_is_refused(folder, overrides, arguments, message):
    with pytest.raises(UserError, match=message):
        cross_validation(load(folder, POOLED.format(folder), *overrides), **{"folds": 5, **arguments})


def test_an_unknown_column_is_named_before_anything_runs(folder):
    config = load(folder, POOLED.format(folder))
    with pytest.raises(UserError, match=r"no column 'texts'.*Did you mean 'text'\?.*--by"):
        cross_validate(config, Console(file=io.StringIO()), "pipeline.yaml", by="texts")
    assert not (folder / "runs" / "runs").exists()


def test_the_plan_is_shown_and_nothing_runs(folder):
    config = str(folder / "pipeline.yaml")
    result = CliRunner().invoke(app, ["crossval", config, "--folds", "2", "--plan"])
    assert result.exit_code == 0, result.output
    for name in ("ingest fold-1", "tokenize fold-2", "evaluate fold-2", "fold 1", "2 epochs"):
        assert name in result.output
    assert not (folder / "runs" / "runs").exists()
