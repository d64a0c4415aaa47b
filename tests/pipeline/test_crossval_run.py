"""A cross-validation that runs: a fold that fails, the run after it, and what is there then."""

import csv
import io
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import tiny
from rich.console import Console

from components.errors import UserError
from components.train import children
from components.train.transform import train_here
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.crossval.command import cross_validate
from pipeline.run.observe import read_records

pytestmark = pytest.mark.slow

POOLED = "ingest.files=[{0}/train.tsv, {0}/validation.tsv, {0}/test.tsv]"
QUICK = (
    "tracking.enabled=false",
    "train.epochs=1",
    "ingest.keep={id: text}",
    "evaluate.calibrate=temperature",
)


class Pool:
    """Trains in this process, and lets the fold fail that is named."""

    def __init__(self, fails):
        self.fails = fails
        self.trained = []

    def submit(self, trial, inputs, summary):
        done = Future()
        try:
            if trial.work.node == self.fails:
                with trial.work.attempt("fit"):
                    raise UserError("the dog ate it")
            done.set_result(train_here(trial, inputs, summary))
            self.trained.append(trial.work.node)
        except UserError as error:
            done.set_exception(error)
        return done


def crossval(path, pool, *overrides, **arguments):
    console = Console(file=io.StringIO(), width=200)
    config = load_config(path, (POOLED.format(path.parent), *QUICK, *overrides))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, "pool_of", lambda parallel: pool)
        code = cross_validate(config, console, str(path), folds=3, **arguments)
    return code, console.file.getvalue(), read_records(Places.of(config).root)[-1]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The first command, in which a fold fails, and the second one."""
    path = tiny.make(tmp_path_factory.mktemp("crossval"))
    made = []
    for fails in ("train fold-2", ""):
        pool = Pool(fails)
        output = path.parent / f"answers-{len(made)}.csv"
        code, said, record = crossval(path, pool, output=output)
        card = path.parent / "runs" / "runs" / record.id / "card.html"
        made.append(SimpleNamespace(code=code, said=said, record=record, output=output, pool=pool, card=card))
    return SimpleNamespace(path=path, first=made[0], second=made[1])


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def states(record):
    return {node.name: node.state for node in record.nodes.values()}


def test_a_failed_fold_fails_alone_and_the_result_says_so(done):
    first = done.first
    assert first.code == 1
    assert "not measured: fold 2; the mean is over 2 of 3 folds" in first.said
    assert "the dog ate it" in first.said
    assert states(first.record) == {
        **{
            f"{stage} fold-{number}": "finished"
            for stage in ("ingest", "tokenize", "train", "evaluate")
            for number in (1, 2, 3)
        },
        "train fold-2": "failed",
        "evaluate fold-2": "not reached",
    }
    assert {row["fold"] for row in rows_of(first.output)} == {"1", "3"}


def test_the_next_command_builds_only_what_is_missing(done):
    assert done.second.code == 0
    assert done.second.pool.trained == ["train fold-2"]
    built = {name for name, state in states(done.second.record).items() if state == "finished"}
    assert built == {"train fold-2", "evaluate fold-2"}


def test_every_record_has_one_answer_in_the_order_of_the_files(done):
    rows = rows_of(done.second.output)
    files = [done.path.parent / f"{name}.tsv" for name in ("test", "train", "validation")]
    expected = [
        (f"{file}:{number}", line.split("\t")[0], line.split("\t")[1])
        for file in files
        for number, line in enumerate(file.read_text().splitlines()[1:], start=2)
    ]
    assert [(row["id"], row["text"], row["label"]) for row in rows] == expected
    assert all(row["kept_id"] == row["text"] for row in rows)
    assert all((row["answer"] == row["label"]) == (row["correct"] == "true") for row in rows)
    assert all(0 < float(row["score"]) <= 1 for row in rows)


def test_every_fold_is_calibrated_on_its_own_validation_split(done):
    folds = [node for node in done.second.record.nodes.values() if node.stage == "evaluate"]
    lines = [node.summary["confidence"][0] for node in folds]
    assert len(lines) == 3
    assert all(line.startswith("temperature ") and "validation examples" in line for line in lines)


def test_the_figures_are_those_of_the_folds(done):
    record, rows = done.second.record, rows_of(done.second.output)
    evaluated = [node for node in record.nodes.values() if node.stage == "evaluate"]
    for number, node in enumerate(evaluated, start=1):
        own = [row["correct"] == "true" for row in rows if row["fold"] == str(number)]
        assert node.summary["metrics"]["accuracy"] == pytest.approx(sum(own) / len(own))
    line = next(line for line in done.second.said.splitlines() if line.startswith("accuracy "))
    mean = sum(node.summary["metrics"]["accuracy"] for node in evaluated) / 3
    right = sum(row["correct"] == "true" for row in rows) / len(rows)
    assert line.split()[1] == f"{mean:.4f}"
    value, low, to, high = line.split()[-4:]
    assert (value, to) == (f"{right:.4f}", "to")
    assert float(low) <= right <= float(high)
    spread = 1.96 * (right * (1 - right) / len(rows)) ** 0.5
    assert float(high) - float(low) == pytest.approx(2 * spread, abs=0.02)


def test_the_record_has_a_trial_for_every_fold_and_no_pick(done):
    record = done.second.record
    assert [trial.settings for trial in record.trials.values()] == [{"fold": number} for number in (1, 2, 3)]
    assert (record.pick, record.verdict, record.served, record.metrics) == ("", {}, "", {})
    assert record.status == "finished"
    assert not (done.path.parent / "serving").exists()


def test_no_text_of_a_fold_is_in_what_it_was_trained_on(done):
    """The counts of ingest say so: texts that two splits share are warned of."""
    for node in done.second.record.nodes.values():
        if node.stage == "ingest":
            assert node.summary["warnings"] == []
            assert sum(node.summary["examples"].values()) == 280


def test_the_page_has_the_table_the_picture_and_what_failed(done):
    page = done.second.card.read_text(encoding="utf-8")
    assert "3 folds, dealt stratified by label" in page
    assert 'src="data:image/png;base64,' in page
    assert "95 % over folds" in page
    assert "Nadeau and Bengio" in page
    assert "not measured" not in page
    failed = done.first.card.read_text(encoding="utf-8")
    assert "the mean is over 2 of 3 folds" in failed
    assert "the dog ate it" in failed


def test_a_third_command_shows_the_same_without_a_job(done):
    code, said, record = crossval(done.path, None)
    assert code == 0
    assert "nothing to do, all 12 stages are reused" in said
    assert record.id == done.second.record.id
    tables = [text[text.index("fold  trained on") :].split("\n\n")[:2] for text in (said, done.second.said)]
    assert tables[0] == tables[1]
