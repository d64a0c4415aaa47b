"""The card of a sweep: ranking, curves, settings, and what is said of the pick."""

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from made_runs import MadeRun, make_run
from scored_sweeps import Scored, facts

from pipeline.report.facts import find_runs
from pipeline.report.pages import card_page
from pipeline.report.sweep import SweepFacts, state_words
from pipeline.report.sweep_curves import learning_curves
from pipeline.report.sweep_settings import scores_by_setting
from pipeline.sweep.statistics import interval_over_seeds

RATE, ENCODER, UNITS = "train.optimizer.learning_rate", "model.encoder", "model.encoder.units"
ENCODERS = [{"type": "gru", "units": 4}, {"type": "lstm", "units": 6, "bidirectional": True}]
SEEDED = {(4, 7): 0.5, (4, 8): 0.3, (4, 9): 0.4, (6, 7): 0.2, (6, 8): 0.6, (6, 9): 0.7}


def of_units(settings, seed, epoch):
    """The larger the better, and the later."""
    return 1 / settings[UNITS] + 1 / epoch


def of_seeds(settings, seed, epoch):
    return SEEDED[settings[UNITS], seed] + 0.1 * (3 - epoch)


def units(*values):
    return [{UNITS: value} for value in values]


HALVED = Scored(units(2, 3, 4, 5, 6, 8), of_units, epochs=9, halving=(2, [2, 4]), failed={"3": 1, "5": 3})
REPEATED = Scored(units(4, 6), of_seeds, repeat=3, epochs=3)


def sweep_of(record, root, **artifacts):
    return SweepFacts.of(facts(record, root, artifacts))


def rows_of(sweep):
    return [(setting.rank, setting.trials[0].trial.group, state_words(setting)) for setting in sweep.settings]


def page_of(record, root, **artifacts):
    return card_page(facts(record, root, artifacts))


def words(page):
    """The text of a page in one line."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split()).replace(" ,", ",").replace(" .", ".")


def charts(page):
    return [ElementTree.fromstring(chart) for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_who_came_further_is_ahead_and_who_failed_is_last(tmp_path):
    sweep = sweep_of(HALVED.record(), tmp_path)
    assert rows_of(sweep) == [
        (1, "6", "finished"),
        (2, "4", "stopped at epoch 4"),
        (3, "2", "stopped at epoch 2"),
        (4, "1", "stopped at epoch 2"),
        (0, "3", "failed"),
        (0, "5", "failed"),
    ]
    assert sweep.best is sweep.settings[0]
    assert (sweep.compared, sweep.failed) == (4, 2)


def test_the_page_says_who_is_picked_and_that_the_best_of_many_is_optimistic(tmp_path):
    page = page_of(HALVED.record(), tmp_path)
    text = words(page)
    assert "Loss 0.2361 on validation, the best of 4 trials; 2 trials failed" in text
    assert "The best of 4 on the same examples is optimistic" in text
    assert "Trial 6 has the best loss on validation, and is picked (units 8)" in text
    assert "Its model has not been evaluated on the test split" in text
    assert "trial 5 failed in epoch &lt;3&gt;" in page
    assert "Failed trials come behind all others" in text


def test_the_trainings_of_a_rung_are_one_row_and_their_warnings_are_folded(tmp_path):
    record = HALVED.record()
    nodes = {**record.nodes}
    nodes["train 2 to epoch 2"] = replace(nodes["train 2 to epoch 2"], warnings=("it <diverges>",))
    nodes["train 6"] = replace(nodes["train 6"], warnings=("it is slow",))
    page = page_of(replace(record, nodes=nodes), tmp_path)
    assert "train to epoch 2, 6 trials 5 finished, 1 failed 5.0 see below" in words(page)
    assert "train 3 to epoch 2 failed" not in words(page)
    folded = page.index("<summary>warnings of trials</summary>")
    assert page.index("it is slow") < folded < page.index("train 2 to epoch 2: it &lt;diverges&gt;")


def test_fifty_settings_are_listed_and_the_others_folded(tmp_path):
    record = Scored(units(*range(2, 62)), of_units).record()
    page = page_of(record, tmp_path)
    first, rest = page.split("<summary>10 more</summary>")
    row = '<tr.*?><td class="number">[0-9]+</td>'
    assert len(re.findall(row, first)) == 50
    assert len(re.findall(row, rest[: rest.index("</details>")])) == 10
    assert "10 more" not in page_of(HALVED.record(), tmp_path)


def test_a_curve_goes_through_all_rungs_and_ends_where_its_trial_ended(tmp_path):
    sweep = sweep_of(HALVED.record(), tmp_path)
    assert {trial: len(curve) for trial, curve in sweep.curves.items()} == {
        "1": 2,
        "2": 2,
        "4": 4,
        "5": 2,
        "6": 9,
    }
    assert sweep.curves["6"][3] == (4.0, pytest.approx(1 / 8 + 1 / 4))
    curves = learning_curves(sweep)
    assert [named.trial.id for named in curves.named] == ["6", "4", "2", "1"]
    chart = ElementTree.fromstring(curves.chart)
    lines = {line.get("class"): line.get("points").split() for line in chart.iter("polyline")}
    assert len(lines["named n0"]) == 9
    assert [len(lines[f"named n{place}"]) for place in (1, 2, 3)] == [4, 2, 2]
    assert [path.get("class") for path in chart.iter("path")] == ["other cross"]
    ends = [float(each.get("x1")) for each in chart.iter("line") if each.get("class") == "stop"]
    assert ends[0] == pytest.approx(float(lines["named n2"][-1].split(",")[0]), abs=0.1)


def test_many_curves_are_thin_and_five_have_names(tmp_path):
    record = Scored(units(*range(2, 202)), of_units).record()
    curves = learning_curves(sweep_of(record, tmp_path))
    chart = ElementTree.fromstring(curves.chart)
    styles = [line.get("class") for line in chart.iter("polyline")]
    assert styles.count("other") == 195
    assert sorted(style for style in styles if style != "other") == [f"named n{place}" for place in range(5)]
    assert [named.title for named in curves.named] == [f"trial {200 - place}" for place in range(5)]
    assert curves.outside == 0
    labels = [text for text in chart.iter("text") if "named" in text.get("class", "")]
    assert [label.text for label in labels] == [f"{200 - place}" for place in range(5)]
    heights = [float(label.get("y")) for label in labels]
    assert all(before - after >= 18 for before, after in pairwise(heights))  # the best one is at the bottom


def test_a_trial_that_diverges_does_not_flatten_the_others(tmp_path):
    def diverging(settings, seed, epoch):
        return 1e9 if settings[UNITS] == 2 else of_units(settings, seed, epoch)

    curves = learning_curves(sweep_of(Scored(units(*range(2, 42)), diverging).record(), tmp_path))
    chart = ElementTree.fromstring(curves.chart)
    heights = {
        line.get("class"): [float(point.split(",")[1]) for point in line.get("points").split()]
        for line in chart.iter("polyline")
    }
    assert max(heights["named n0"]) - min(heights["named n0"]) > 100
    assert curves.outside == 1


def test_settings_are_ranked_by_the_mean_and_the_best_seed_is_picked(tmp_path):
    record = REPEATED.record()
    sweep = sweep_of(record, tmp_path)
    assert [group for _, group, _ in rows_of(sweep)] == ["1", "2"]
    best = sweep.settings[0]
    assert [state.trial.seed for state in best.trials] == [7, 8, 9]
    assert best.mean == pytest.approx(0.4)
    assert best.interval == interval_over_seeds([0.5, 0.3, 0.4])
    assert record.pick == "1.2"  # although a seed of the other setting is better
    text = words(page_of(record, tmp_path))
    assert "Mean loss 0.4000 on validation (95 % interval over 3 seeds: 0.1516 to 0.6484)" in text
    assert "setting 1 has the best one. Of its seeds, 8 is the best on validation: trial 1.2" in text
    assert "7: 0.5000, 8: 0.3000 (picked), 9: 0.4000" in text
    assert "1.2 (setting 1, seed 8): 0.3000 at its end, picked" in text


def test_a_setting_of_which_a_seed_failed_is_behind_complete_ones(tmp_path):
    record = Scored(units(4, 6), of_seeds, repeat=3, epochs=3, failed={"1.3": 2}).record()
    sweep = sweep_of(record, tmp_path)
    assert rows_of(sweep) == [(1, "2", "finished"), (0, "1", "2 finished, 1 failed")]
    page = page_of(record, tmp_path)
    assert "7: 0.5000, 8: 0.3000, 9: failed" in words(page)
    assert "trial 1.3 failed in epoch &lt;2&gt;" in page


def test_numbers_are_points_on_a_scale_of_their_kind(tmp_path):
    rates = [{RATE: rate} for rate in (1e-4, 1e-3, 1e-2)]
    record = Scored(rates, lambda settings, seed, epoch: settings[RATE] + 1 / epoch).record()
    (scores,) = scores_by_setting(sweep_of(record, tmp_path))
    assert [row.value for row in scores.rows] == ["0.0001", "0.001", "0.01"]
    chart = ElementTree.fromstring(scores.chart)
    places = [float(mark.get("cx")) for mark in chart.iter("circle")]
    (picked,) = (path.get("d") for path in chart.iter("path"))
    places = sorted([*places, float(picked[1:].split()[0])])
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)  # orders of magnitude


def test_seeds_have_an_interval_in_the_chart_and_in_the_numbers(tmp_path):
    (scores,) = scores_by_setting(sweep_of(REPEATED.record(), tmp_path))
    assert [(row.settings, row.over_seeds) for row in scores.rows] == [(1, True), (1, True)]
    assert scores.rows[0].interval == interval_over_seeds([0.5, 0.3, 0.4])
    chart = ElementTree.fromstring(scores.chart)
    assert len([line for line in chart.iter("line") if line.get("class") == "interval"]) == 2


def test_whole_sections_are_strips_with_the_mean_of_their_settings(tmp_path):
    settings = [{ENCODER: each, "model.dropout": rate} for each in ENCODERS for rate in (0.1, 0.2, 0.4)]
    record = Scored(settings, lambda own, seed, epoch: own["model.dropout"] + own[ENCODER]["units"]).record()
    scores, dropout = scores_by_setting(sweep_of(record, tmp_path))
    assert [row.value for row in scores.rows] == ["gru (units 4)", "lstm (units 6, bidirectional true)"]
    assert scores.rows[0].mean == pytest.approx(4 + 0.7 / 3)
    assert scores.rows[0].interval == pytest.approx(interval_over_seeds([4.1, 4.2, 4.4]))
    assert not scores.rows[0].over_seeds
    chart = ElementTree.fromstring(scores.chart)
    kinds = [line.get("class") for line in chart.iter("line")]
    assert (kinds.count("mean"), kinds.count("interval")) == (2, 2)
    assert "lstm (units 6, bidirectional true)" in [text.text for text in chart.iter("text")]
    assert dropout.key == "model.dropout"


def test_scores_are_compared_where_all_trials_are(tmp_path):
    (scores,) = scores_by_setting(sweep_of(HALVED.record(), tmp_path))
    assert [row.mean for row in scores.rows] == pytest.approx([1 / 2 + 1 / n for n in (2, 3, 5, 6, 8)])
    styles = [mark.get("class") for mark in ElementTree.fromstring(scores.chart).iter("circle")]
    assert sorted(styles) == ["mark on", "mark on", "mark out", "mark out"]
    assert "Loss against every setting, after epoch 2" in words(page_of(HALVED.record(), tmp_path))


def test_a_key_of_one_value_has_no_chart(tmp_path):
    assert scores_by_setting(sweep_of(Scored(units(4), of_units).record(), tmp_path)) == []


def evaluated(tmp_path, monitor):
    """A sweep whose pick was evaluated: what is monitored is 0.9 of the setting's, 0.8 of 400 on test."""
    settings = [{"model.dropout": rate} for rate in (0.1, 0.3)]
    record = Scored(settings, lambda own, seed, epoch: 1 - own["model.dropout"], monitor=monitor).record()
    run = MadeRun(tmp_path, config={"task": "classification"}).make("ingest", "tokenize", "train", "evaluate")
    made = run.made("evaluate")
    node = replace(run.record().nodes["evaluate"], trials=(record.pick,))
    return replace(record, nodes={**record.nodes, "evaluate": node}), made


def test_the_gap_from_validation_to_test_is_that_of_the_pick(tmp_path):
    record, made = evaluated(tmp_path, "accuracy")
    assert record.pick == "1"
    sweep = sweep_of(record, tmp_path, evaluate=made)
    (gap,) = sweep.gaps
    assert (gap.metric, gap.validation, gap.test) == ("accuracy", 0.9, 0.8)
    assert gap.interval[0] < 0.8 < gap.interval[1]
    assert gap.is_worse
    text = words(page_of(record, tmp_path, evaluate=made))
    assert re.search(r"accuracy 0\.9000 0\.8000 0\.7\d+ to 0\.8\d+ -0\.1000, worse", text)
    assert "Of all trials, only this model was evaluated on the test split; the scores of the others" in text
    served = page_of(replace(record, served="serving/made/1"), tmp_path, evaluate=made)
    assert "evaluated on the test split, and it is served;" in words(served)


def test_a_gap_that_is_not_measured_is_said_to_be_unknown(tmp_path):
    record, made = evaluated(tmp_path, "loss")
    assert sweep_of(record, tmp_path, evaluate=made).gaps == []
    text = words(page_of(record, tmp_path, evaluate=made))
    assert "The loss is not measured on the test split, so its gap is not known" in text
    record, made = evaluated(tmp_path / "other", "macro_f1")
    (evaluation,) = [node for node in record.nodes.values() if node.stage == "evaluate"]
    assert "macro_f1" in evaluation.summary["metrics"]
    assert "is not measured" not in words(page_of(record, tmp_path, evaluate=made))


def test_an_interrupted_sweep_shows_what_is_known(tmp_path):
    sweep = Scored(units(*range(2, 12)), of_units, halving=(2, [2]), failed={"2": 1}, done={"1", "2", "3"})
    record = sweep.record("interrupted", message="interrupted")
    assert record.pick == ""
    text = words(page_of(record, tmp_path))
    assert "No trial is picked yet, so the ranking is one of what is known so far" in text
    assert "Nothing was evaluated on the test split" in text
    rows = rows_of(sweep_of(record, tmp_path))
    assert rows[:3] == [(1, "3", "waiting"), (2, "1", "waiting"), (0, "4", "waiting")]
    assert rows[-1] == (0, "2", "failed")
    assert len(rows) == 10


def test_a_sweep_of_which_every_setting_has_a_failed_seed_has_a_pick(tmp_path):
    failed = {"1.3": 2, "2": 1}
    record = Scored(units(4, 6), of_seeds, repeat=3, epochs=3, failed=failed).record()
    assert record.pick == "1.2"
    assert "seed 8" in words(page_of(record, tmp_path))
    assert sweep_of(record, tmp_path).best.trials[0].trial.group == "1"


@pytest.mark.parametrize("failed", [None, {"1": 1, "2": 1}])
def test_a_sweep_without_a_score_has_a_card(failed, tmp_path):
    record = Scored(units(4, 6), of_units, failed=failed, done=None if failed else set()).record("failed")
    page = page_of(record, tmp_path)
    assert "No trial is picked yet." in words(page)
    assert "<svg" not in page


@pytest.mark.parametrize("made", [HALVED, REPEATED])
def test_charts_are_well_formed_and_described(made, tmp_path):
    page = page_of(made.record(), tmp_path)
    described = [chart for chart in charts(page) if chart.get("aria-hidden") != "true"]
    assert len(described) == 2
    for chart in described:
        labels = {each.get("id"): each.text for each in chart if each.tag in ("title", "desc")}
        assert chart.get("role") == "img"
        assert chart.get("aria-labelledby").split() == list(labels)
        assert all(len(text) > 10 for text in labels.values())
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len({*ids})
    assert {*re.findall(r"url\(#([^)]+)\)", page)} <= {*ids}


def test_what_is_swept_is_text(tmp_path):
    settings = [{"tokenize.text.pattern": pattern} for pattern in ("<script>alert(1)</script>", "a&b")]
    record = Scored(settings, lambda own, seed, epoch: len(own["tokenize.text.pattern"]) / epoch).record()
    page = page_of(record, tmp_path)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert charts(page)


def test_without_a_sweep_there_is_no_part_of_one(tmp_path):
    (run,) = find_runs(tmp_path, [make_run(tmp_path, "a", 320)])
    assert SweepFacts.of(run) is None
    page = card_page(run)
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        *["Not judged", "Metrics", "Beside it", "Where it errs", "training curves", "by length"],
        *["Data", "Rejected records", "Stages", "Configuration"],
    ]
    for part in ("<svg", "<h3>Ranking", 'class="ranking"', "Okabe", "trial"):
        assert part not in page
    stages = page[page.index("<h2>Stages</h2>") :]
    stages = stages[: stages.index("</table>")]
    assert re.findall(r"<tr><td>(.*?)</td>", stages) == list(run.record.nodes)
