"""The command `rnnpipe init`: what it writes where, and that what it writes runs."""

import io
import json
from pathlib import Path

import pytest
from called import call_in
from made_data import described, labelled, write_lines, write_objects, write_table
from rich.console import Console

from components.errors import UserError
from pipeline.config import config_schema, load_config
from pipeline.init import make
from pipeline.init.draft import Wishes
from pipeline.init.make import init


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def call(*arguments):
    return call_in(Path.cwd(), 80, *arguments)


def test_help_loads_no_library_that_looks_into_files():
    code, out, _, modules = call("--help")
    assert code == 0
    assert "init" in out.split()
    assert not modules & {"clevercsv", "charset_normalizer", "pyarrow", "pydantic"}


def test_the_command():
    write_table("reviews.csv", [(i, *row) for i, row in enumerate(labelled())], ("id", "what", "which"))
    code, out, errors, modules = call("init", "reviews.csv", "--name", "mine", "--output", "conf/mine.yaml")
    assert (code, errors) == (0, "")
    assert not modules & {"tensorflow", "keras", "apache_beam", "mlflow"}
    for part in ("commas", "120 examples", "-> text", "-> label", "accuracy min"):
        assert part in out
    assert "rnnpipe plan conf/mine.yaml" in out
    assert "rnnpipe run conf/mine.yaml" in out
    config = load_config(Path("conf/mine.yaml"))
    assert config.name == "mine"
    assert config.ingest.columns == {"text": "what", "label": "which"}


def test_errors_of_the_command():
    code, out, errors, _ = call("init", "missing.csv")
    assert (code, out) == (1, "")
    assert errors.startswith("init: there is no file 'missing.csv' in ")
    _, _, errors, _ = call("init", "missing.csv", "--text", "a", "--source", "b")
    assert errors.startswith("init: received --text, which is for classification, with --source.")
    _, _, errors, _ = call("init", "missing.csv", "--text", "a", "--task", "seq2seq")
    assert errors.startswith("init: received --text, which is for classification, with --task seq2seq.")


def test_a_delimiter_on_the_command_line():
    write_lines("a.data", ["text\tlabel", *("\t".join(row) for row in labelled())])
    assert call("init", "a.data", "--delimiter", r"\t")[0] == 0
    assert load_config(Path("pipeline.yaml")).ingest.format == "tsv"
    _, _, errors, _ = call("init", "a.data", "--force", "--delimiter", "~~")
    assert errors.startswith("init: --delimiter: received '~~', expected one character")
    write_objects("a.jsonl", labelled())
    _, _, errors, _ = call("init", "a.jsonl", "--force", "--delimiter", ";")
    assert errors.startswith("init: received --delimiter, which is for csv, tsv, but a.jsonl is jsonl.")


def test_nothing_is_overwritten_without_force():
    write_table("a.csv", labelled())
    described("a.csv")
    Path("pipeline.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"there is pipeline\.yaml already, .* --force"):
        described("a.csv")
    assert Path("pipeline.yaml").read_text(encoding="utf-8") == "mine"
    described("a.csv", force=True)
    described("a.csv", output="other.yaml")  # the schema beside it is refreshed
    Path("pipeline.schema.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"pipeline\.schema\.json already, which is not the schema of rnnpipe"
    ):
        described("a.csv", output="third.yaml")
    with pytest.raises(UserError, match=r"--output \. is a folder"):
        described("a.csv", output=".")


def test_the_output_may_be_at_home_and_where_it_cannot_be_written_is_said(monkeypatch):
    write_table("a.csv", labelled())
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    init(["a.csv"], Wishes(), Path("~/conf/mine.yaml"), False, Console(file=io.StringIO()))
    assert Path("home/conf/mine.yaml").is_file()
    assert not Path("~").exists()
    with pytest.raises(UserError, match=r"--output a\.csv/mine\.yaml cannot be written: .* Check the path"):
        described("a.csv", output="a.csv/mine.yaml")
    with pytest.raises(UserError, match=r"an address as --output, s3:/b/p\.yaml, expected a file on a disk"):
        described("a.csv", output="s3://b/p.yaml")
    assert not Path("s3:").exists()


@pytest.mark.parametrize("output", ["pipeline.yaml", "conf/my.yaml"])
def test_the_schema_is_where_the_first_line_says(output):
    described(write_table("a.csv", labelled()), output=output)
    first = Path(output).read_text(encoding="utf-8").splitlines()[0]
    name = first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads((Path(output).parent / name).read_text(encoding="utf-8")) == config_schema()


@pytest.mark.parametrize("name", ["a b", "-x", "models.config", "x.rnnpipe"])
def test_names_that_cannot_be_taken(name):
    with pytest.raises(UserError, match="init: --name"):
        described(write_table("a.csv", labelled()), name=name)


def test_an_unknown_encoding():
    with pytest.raises(
        UserError, match="init: --encoding received 'utf9', expected an encoding that Python knows"
    ):
        described(write_table("a.csv", labelled()), encoding="utf9")


def test_a_configuration_that_is_not_taken_is_our_error(monkeypatch):
    text = make.config_text
    monkeypatch.setattr(make, "config_text", lambda *given: text(*given).replace("epochs:", "epoch:"))
    with pytest.raises(UserError, match=r"an error of rnnpipe, not yours(.|\n)*train\.epoch: unknown key"):
        described(write_table("a.csv", labelled()))
    assert not Path("pipeline.yaml").exists()


def _reviews():
    adjectives = {"gut": ("schön", "günstig", "süß"), "schlecht": ("übel", "kaputt", "trüb")}
    rows = [
        (number, f'Das Gerät Nr. {number} ist "{adjectives[label][number % 3]}";\nwie ich fände', label)
        for number, (_, label) in enumerate(labelled(300, ("gut", "schlecht")))
    ]
    header = ("Nr", "Kommentar", "Urteil")
    return [write_table("kritik.csv", rows, header, "cp1252", delimiter=";")]


def _news():
    texts = {"体育": "中国队在第{}场比赛中获得胜利，教练满意", "财经": "股市今天上涨{}点，银行利率下降"}
    rows = [
        (f"n{number:05d}", texts[label].format(number), label)
        for number, (_, label) in enumerate(labelled(300, ("体育", "财经")))
    ]
    return [write_objects("news.jsonl", rows, ("id", "title", "category"))]


def _pairs():
    for split, begin, end in (("train", 0, 240), ("dev", 240, 270), ("test", 270, 300)):
        write_lines(f"{split}.src", [f"number {number * 37 % 1000}" for number in range(begin, end)])
        write_lines(f"{split}.tgt", [" ".join(str(number * 37 % 1000)) for number in range(begin, end)])
    return ["train.src", "train.tgt"]


@pytest.mark.slow
@pytest.mark.parametrize("data", [_reviews, _news, _pairs])
def test_what_is_written_runs_as_it_is(data):
    from pipeline.run.pipeline import run_pipeline
    from pipeline.run.summary import NOT_BLESSED

    described(*data(), yes=True)
    overrides = ["train.epochs=1"]
    console = Console(file=io.StringIO(), width=200)
    code = run_pipeline(load_config(Path("pipeline.yaml"), overrides), console, "pipeline.yaml", overrides)
    printed = console.file.getvalue()
    assert code in (0, NOT_BLESSED), printed  # one epoch may not be enough
    assert "; 0 rejected" in printed
    for metric in load_config(Path("pipeline.yaml")).evaluate.metrics:
        assert f"{metric} " in printed
