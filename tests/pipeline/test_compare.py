"""Runs side by side, as text and as a page."""

import io
import re

import pytest
from made_runs import MadeRun, make_run, measured
from rich.console import Console
from typer.testing import CliRunner

from components import files
from components.errors import UserError
from pipeline.cli import app
from pipeline.report.compare import compare
from pipeline.report.compare_text import comparison_text, shortened
from pipeline.report.facts import RunFacts, find_runs
from pipeline.report.pages import comparison_page
from pipeline.store.store import Store


def text(comparison, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(comparison_text(comparison, width))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


@pytest.fixture
def three(tmp_path):
    settings = [{"model": {"units": units}} for units in (64, 128, 256)]
    ids = [
        make_run(tmp_path, name, right, config=config)
        for name, right, config in zip("abc", (320, 300, 319), settings, strict=True)
    ]
    return tmp_path, ids


def test_what_differs_and_whether_it_is_noise(three):
    root, ids = three
    found = compare(find_runs(root, ids))
    assert found.labels == ["A", "B", "C"]
    assert found.parameters == {"model.units": ["64", "128", "256"]}
    best, worse, near = found.metrics["exact_match"]
    assert (best.value, best.difference, best.difference_interval, best.beyond_noise) == (
        0.8,
        0.0,
        None,
        None,
    )
    assert best.interval[0] < 0.8 < best.interval[1]
    assert worse.difference == pytest.approx(-0.05)
    assert worse.beyond_noise is True
    assert worse.difference_interval[0] < -0.05 < worse.difference_interval[1] < 0
    assert near.difference == pytest.approx(-0.0025)
    assert near.beyond_noise is False
    errors = found.metrics["character_error_rate"]
    assert [error.difference for error in errors] == pytest.approx(
        [0, 0.05, 0.0025]
    )  # the best is the smallest
    assert found.costs == {
        "parameters": ["1,234"] * 3,
        "epochs": ["2"] * 3,
        "training, seconds": ["12"] * 3,
    }
    said = text(found)
    assert re.search(r"exact_match *\n  A  0\.8000 \(0\.7\d+ to 0\.8\d+\)  best *\n  B  0\.7500", said)
    assert re.search(r"  B .*-0\.0500 \(-0\.\d+ to -0\.\d+\) *\n", said)
    assert re.search(r"  C .*-0\.0025 \(-0\.\d+ to \+0\.0000\) ~\n", said)


@pytest.mark.parametrize("width", [80, 120])
def test_five_runs_are_readable_in_a_narrow_terminal(tmp_path, width):
    folder = "/srv/storage/projects/customer-reviews/raw/2026/november/exported/from-the-shop/part"
    for number in range(5):
        config = {
            "model": {"encoder": {"type": "gru", "bidirectional": True, "units": 64 * (1 + number // 3)}},
            "ingest": {"files": f"{folder}/reviews-{number}.csv"},
            "note": f"{number} {'very long ' * 12}",
        }
        make_run(tmp_path, str(number), 320 - number, config=config)
    found = find_runs(tmp_path, [], 5)
    lines = text(compare(found), width).splitlines()
    assert max(map(len, lines)) <= width
    units = [each.record.config["model"]["encoder"]["units"] for each in found]
    small = " ".join(label for label, each in zip("ABCDE", units, strict=True) if each == 64)
    assert f"  {small}  64" in [line[: len(small) + 6].rstrip() for line in lines]
    said = "\n".join(lines)
    for number in range(5):
        assert f"/reviews-{number}.csv" in said if width > 110 else f"…reviews-{number}.csv" in said
        assert re.search(rf"^  [A-E]  {number} very long .*…", said, re.MULTILINE)
    assert sum(line.strip() == "character_error_rate" for line in lines) == 1
    assert len(re.findall(r"  0\.\d{4} \(0\.\d{4} to 0\.\d{4}\)  [-+]0\.\d{4} \(.*\)", said)) == 12
    assert said.count("gru, both ways: finished") == 5


def test_what_is_served_and_which_is_the_champion_are_seen(tmp_path):
    base = tmp_path / "serving" / "made"
    for number in (1, 2):
        (base / str(number)).mkdir(parents=True)
        (base / str(number) / "saved_model.pb").write_bytes(b"")
        run = MadeRun(tmp_path, str(number), config={"model": {"encoder": {"type": "lstm"}}})
        run.make("ingest", "tokenize", "train", "evaluate").end(served=base / str(number))
    found = compare(find_runs(tmp_path))
    assert sorted(found.outcomes) == ["version 1", "version 2, champion"]
    said = text(found)
    assert "   lstm: version 1\n" in said
    assert "   lstm: version 2, champion" in said
    assert said.count("just now") == 2
    assert "version 2, champion" in comparison_page(found)


def test_long_settings_are_shortened_where_they_are_alike():
    assert shortened(["a" * 30, "b"], 40) == ["a" * 30, "b"]
    assert shortened(["one/two/three/a.csv", "one/two/three/b.csv"], 10) == ["…a.csv", "…b.csv"]
    long = "x" * 20
    assert shortened([f"1{long}", f"2{long}"], 9) == ["1xxx…xxxx", "2xxx…xxxx"]
    assert shortened([f"{long}1{long}", f"{long}2{long}"], 9) == [f"{long}1{long}", f"{long}2{long}"]


def test_a_page_needs_nothing_else(three):
    root, ids = three
    page = comparison_page(compare(find_runs(root, ids)))
    assert page.count("data:image/png;base64,") == 1
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    for word in (*ids, "model.units", "within the noise", "1,234"):
        assert word in page


def test_runs_are_compared_on_the_same_examples_only(tmp_path):
    ids = [
        make_run(tmp_path, "a", 360),
        make_run(tmp_path, "b", 300, data="other data"),
        make_run(tmp_path, "c", 320, data="other data"),
    ]
    found = compare(find_runs(tmp_path, ids))
    standings = found.metrics["exact_match"]
    assert [standing.difference for standing in standings] == pytest.approx([0, -0.05, 0])
    assert [standing.beyond_noise for standing in standings] == [None, True, None]
    assert found.notes == [
        "they were measured on different examples: each is compared with the best on its own"
    ]
    assert comparison_page(found)


def test_runs_without_resamples_or_of_another_task_have_no_noise(tmp_path):
    ids = [
        make_run(tmp_path, "a", 320),
        make_run(tmp_path, "b", 300, resamples=0),
        make_run(tmp_path, "c", 300, task="classification"),
    ]
    found = compare(find_runs(tmp_path, ids))
    _, without, other = found.metrics["exact_match"]
    assert (without.interval, without.beyond_noise) == (None, None)
    assert without.difference == pytest.approx(-0.05)
    assert other is None
    assert found.metrics["accuracy"][:2] == [None, None]
    assert re.search(r"exact_match\n  A .* best\n  B  0\.7500 +-0\.0500\n  C *\n", text(found))
    assert comparison_page(found)


def test_a_run_whose_artifacts_are_gone_is_compared_by_its_configuration(three):
    root, ids = three
    files.delete([measured(root, ids[1]).reference.manifest])
    found = compare(find_runs(root, ids))
    assert found.notes == ["B (finished) was not evaluated, or its artifacts are gone"]
    assert found.metrics["exact_match"][1] is None
    assert found.parameters["model.units"][1] == "128"


def test_a_run_without_its_resamples_is_compared_by_its_configuration(three):
    root, ids = three
    files.delete([measured(root, ids[1]).place("resampled.npy")])
    assert compare(find_runs(root, ids)).metrics["exact_match"][1] is None


def test_the_same_test_split_beside_other_columns_is_the_same_examples(tmp_path):
    ids = [make_run(tmp_path, "a", 360), make_run(tmp_path, "b", 300)]
    other = RunFacts.of(find_runs(tmp_path, ids[1:])[0].record, Store(files.resolve(tmp_path)))
    other.evaluation.manifest.read["ingest kept"] = "other columns"
    found = compare([*find_runs(tmp_path, ids[:1]), other])
    assert found.notes == []
    assert found.metrics["exact_match"][1].beyond_noise is True


def test_runs_are_compared_wherever_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    root = "memory://compared/runs"
    ids = [make_run(root, name, right) for name, right in (("a", 320), ("b", 300))]
    found = compare(find_runs(root, ids))
    assert found.metrics["exact_match"][1].difference == pytest.approx(-0.05)
    assert found.costs["epochs"] == ["2", "2"]
    with pytest.raises(UserError, match="No runs under memory://compared/none"):
        find_runs("memory://compared/none")


def test_runs_are_found_by_parts_of_their_ids(three):
    root, ids = three
    assert [run.record.id for run in find_runs(root, [ids[2][-4:], ids[0]])] == [ids[2], ids[0]]
    assert [run.record.id for run in find_runs(root, newest=2)] == sorted(ids)[1:]
    with pytest.raises(UserError, match="is part of 3 runs under"):
        find_runs(root, [ids[0][:4]])
    with pytest.raises(
        UserError, match=r"nothing is no run under .*; expected an id, or enough of it, such as"
    ):
        find_runs(root, ["nothing"])
    with pytest.raises(UserError, match="No runs under"):
        find_runs(root / "elsewhere")


def test_one_run_is_no_comparison(three):
    root, ids = three
    with pytest.raises(UserError, match="received 1 run with metrics; expected 2 to 26"):
        compare(find_runs(root, ids[:1]))
    with pytest.raises(UserError, match="received 27 runs; expected 2 to 26"):
        compare(find_runs(root, ids[:1]) * 27)


def test_the_command(three):
    root, ids = three
    page = root / "compare.html"
    done = CliRunner().invoke(app, ["compare", "--root", str(root), "--newest", "2", "--html", str(page)])
    assert done.exit_code == 0
    assert sorted(ids)[0] not in done.output
    assert f"written to {page}" in done.output
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_page_may_be_at_home(three, monkeypatch):
    root, _ = three
    monkeypatch.setenv("HOME", str(root))
    arguments = ["compare", "--root", str(root), "--newest", "2", "--html", "~/at-home.html"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert (root / "at-home.html").is_file()
