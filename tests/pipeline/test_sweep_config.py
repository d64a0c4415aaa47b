"""The section `sweep`: its trials, and every mistake in it with its line."""

from pathlib import Path

import pytest

from pipeline.config import ConfigError, PipelineConfig, load_config, resolved
from pipeline.config.loading import config_of
from pipeline.sweep.draws import in_words, told
from pipeline.sweep.trials import trials_of

# The tests below put their lines behind these.
BASE = """\
name: tiny
task: classification
ingest:
  files: {train: train.tsv, validation: train.tsv}
model:
  encoder: {type: gru, units: 8}
train: {epochs: 9, optimizer: {type: adam}}
sweep:
"""
SEQ2SEQ = BASE.replace("classification", "seq2seq")
OVER = "sweep.over"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.tsv").touch()


def load(sweep: str, *overrides: str, base: str = BASE) -> PipelineConfig:
    Path("run.yaml").write_text(base + sweep)
    return load_config(Path("run.yaml"), overrides)


def problems(sweep: str, *overrides: str, base: str = BASE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(sweep, *overrides, base=base)
    return caught.value.problems


# Trials.


def test_without_a_sweep_there_is_one_trial():
    config = load("", base=BASE.replace("sweep:\n", ""))
    (trial,) = trials_of(config)
    assert (trial.id, trial.config, trial.settings) == ("1", config, {})


def test_trials_are_runs_with_these_settings():
    config = load("  over: {model.encoder.type: [gru, lstm], model.encoder.units: [4, 6]}\n")
    trials = trials_of(config)
    assert [trial.id for trial in trials] == ["1", "2", "3", "4"]
    assert [tuple(trial.settings.values()) for trial in trials] == [
        ("gru", 4),
        ("gru", 6),
        ("lstm", 4),
        ("lstm", 6),
    ]
    alone = BASE.replace("sweep:\n", "")
    for trial in trials:
        sets = [f"{key}={value}" for key, value in trial.settings.items()]
        assert trial.config == load("", *sets, base=alone)


def test_what_depends_on_a_swept_key_follows_it():
    """A decoder that is not written has the encoder's units, in every trial."""
    trials = trials_of(load("  over: {model.encoder.units: [4, 6]}\n", base=SEQ2SEQ))
    assert [trial.config.model.decoder.units for trial in trials] == [4, 6]


def test_whole_sections_with_settings_of_their_own():
    config = load(
        "  over:\n    model.encoder:\n"
        "    - {type: clockwork_rnn, units: 8, periods: [1, 2]}\n"
        "    - {type: lstm, units: 5, bidirectional: true}\n"
        "    model.dropout: [0.0, 0.5]\n"
    )
    encoders = [trial.config.model.encoder for trial in trials_of(config)]
    assert [encoder.type for encoder in encoders] == ["clockwork_rnn", "clockwork_rnn", "lstm", "lstm"]
    assert (encoders[0].periods, encoders[2].units, encoders[2].bidirectional) == ([1, 2], 5, True)


def test_a_swept_key_need_not_be_written():
    base = BASE.replace("  encoder: {type: gru, units: 8}\n", "  dropout: 0.1\n")
    config = load("  over: {model.encoder: [{type: lstm, units: 3}, {type: gru, units: 4}]}\n", base=base)
    assert (config.model.encoder.type, config.model.encoder.units) == ("lstm", 3)
    config = load("  over: {train.batch_size: {integers: [3, 8]}}\n  trials: 2\n")
    assert config.train.batch_size == 3


def test_repeats_have_the_seeds_after_the_runs_own():
    trials = trials_of(load("  over: {model.encoder.units: [4, 6]}\n  repeat: 3\n", "seed=11"))
    assert [trial.id for trial in trials] == ["1", "1.2", "1.3", "2", "2.2", "2.3"]
    assert [trial.group for trial in trials] == ["1"] * 3 + ["2"] * 3
    assert [trial.config.seed for trial in trials] == [11, 12, 13] * 2
    assert [trial.config.model.encoder.units for trial in trials] == [4] * 3 + [6] * 3


@pytest.mark.parametrize("search", ["random", "sobol"])
def test_more_trials_and_more_repeats_keep_the_first_ones(search: str):
    sweep = "  over: {model.encoder.type: [gru, lstm], model.encoder.units: {log_uniform: [4, 64]}}\n"
    few = {each.id: each for each in trials_of(load(f"{sweep}  search: {search}\n  trials: 5\n"))}
    many = trials_of(load(f"{sweep}  search: {search}\n  trials: 12\n  repeat: 2\n"))
    assert len(many) == 24
    assert {each.id: each for each in many if each.id in few} == few


def test_a_metric_that_trials_are_ranked_by_is_watched_in_training():
    config = load("  over: {model.encoder.units: [4, 6]}\n  monitor: accuracy\n")
    assert config.train.monitor is None
    assert [trial.config.train.monitor for trial in trials_of(config)] == ["accuracy"] * 2
    config = load("  over: {model.encoder.units: [4, 6]}\n", "train.monitor=accuracy")
    assert config.sweep.monitor == "accuracy"
    assert load("  over: {model.encoder.units: [4, 6]}\n").sweep.monitor == "loss"


def test_the_search_follows_from_the_number_of_trials():
    assert load("  over: {model.encoder.units: [4, 6]}\n").sweep.search == "grid"
    assert load("  over: {model.encoder.units: [4, 6]}\n  trials: 3\n").sweep.search == "sobol"


def test_a_sweep_is_the_same_as_plain_data():
    config = load("  over: {model.encoder.units: {log_uniform: [4, 64]}}\n  trials: 3\n")
    again = config_of(resolved(config))
    assert resolved(again) == resolved(config)
    assert [each.settings for each in trials_of(again)] == [each.settings for each in trials_of(config)]


def test_settings_in_words():
    assert in_words({"model.encoder.units": 4, "model.dropout": 0.5}) == "units 4, dropout 0.5"
    both = {"model.encoder.units": 4, "model.decoder.units": 5, "model.tied_softmax": True}
    expected = "model.encoder.units 4, model.decoder.units 5, model.tied_softmax true"
    assert in_words(both) == expected
    section = {"model.encoder": {"type": "lstm", "units": 4}, "model.attention": None}
    assert in_words(section) == "encoder lstm (units 4), attention none"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            [{"encoder": {"type": "gru", "units": 4}}, {"encoder": {"type": "lstm", "units": 8}}],
            ["model gru", "model lstm"],
        ),
        (
            [{"encoder": {"type": "gru", "units": units}, "dropout": 0.5} for units in (4, 8)],
            ["model encoder.units 4", "model encoder.units 8"],
        ),
        (
            [{"encoder": {"type": "gru"}}, {"encoder": {"type": "gru"}, "dropout": 0.5}],
            ["model (encoder gru)", "model dropout 0.5"],
        ),
        ([{"encoder": {"type": "gru"}}, None], ["model gru", "model none"]),
    ],
)
def test_whole_sections_are_told_apart_in_few_words(values, words):
    assert [in_words(told({"model": value}, {"model": values})) for value in values] == words


# Mistakes.

KNOWN = "type, units, num_layers, dropout, bidirectional, residual, activation, recurrent_activation"


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        (
            "  over: {model.encoder.unit: [3]}",
            f"9: {OVER}.model.encoder.unit.0: unknown key; did you mean 'units'? known: {KNOWN}",
        ),
        (
            "  over:\n    model.encoder.units:\n    - 4\n    - 0",
            f"12: {OVER}.model.encoder.units.1: received 0, expected a whole number above 0",
        ),
        (
            "  over: {model.encoder.units: {integers: [0, 4]}}\n  trials: 4",
            f"9: {OVER}.model.encoder.units: received 0, expected a whole number above 0",
        ),
        (
            "  over: {model.dropout: {uniform: [0, 1.5]}}\n  trials: 4",
            f"9: {OVER}.model.dropout: received 1.5, expected a number of at least 0 and below 1 or null",
        ),
        (
            "  over: {model.encoder.units: {uniform: [0.5, 4]}}\n  trials: 4",
            f"9: {OVER}.model.encoder.units: received a range from 0.5 to 4, expected whole numbers as "
            "bounds",
        ),
        (
            "  over: {model.encoder: [{type: gru, units: 8}, {type: lstm, unit: 8}]}",
            f"9: {OVER}.model.encoder.1.unit: unknown key; did you mean 'units'? known: "
            f"{KNOWN}, gates, coupled",
        ),
        (
            "  over:\n    model.encoder.units: {integers: [4, 8]}",
            f"10: {OVER}.model.encoder.units: received a range, which a grid cannot try one by one; give a "
            "list, or set sweep.trials, and sweep.search to sobol or random",
        ),
        (
            "  over: {model.encoder.units: [4]}\n  search: sobol",
            "8: sweep.trials: missing; search sobol expects how many trials are drawn, such as 16",
        ),
        (
            "  over: {model.encoder.units: [4, 5]}\n  search: grid\n  trials: 5",
            "11: sweep.trials: a grid tries all 2 combinations; remove it, or set sweep.search to random",
        ),
        (
            "  over: {model.encoder: [{type: gru, units: 4}], model.encoder.units: [4, 5]}",
            f"9: {OVER}.model.encoder.units: is within model.encoder, which is swept as well; write whole "
            "sections there, or remove one",
        ),
        (
            "  over: {ingest.max_characters: [4]}",
            f"9: {OVER}.ingest.max_characters: ingest.max_characters cannot be swept: all trials are "
            "compared on the same examples; remove it",
        ),
        (
            "  over: {seed: [1, 2]}",
            f"9: {OVER}.seed: seed cannot be swept: sweep.repeat trains every setting with several seeds; "
            "remove it",
        ),
        (
            "  over: {root: [a]}",
            f"9: {OVER}.root: root cannot be swept: it is the same for all trials; remove it",
        ),
        (
            "  over: {modle.dropout: [0.1]}",
            f"9: {OVER}.modle.dropout: unknown key; expected a key below model, tokenize or train, such as "
            "model.encoder.units; did you mean 'model'?",
        ),
        (
            "  over: {model.dropout: [0.1, 0.1]}",
            f"9: {OVER}.model.dropout.1: 0.1 is there twice; remove one",
        ),
        (
            "  over: {model.dropout: {uniform: [0.2, 0.1]}}\n  trials: 2",
            f"9: {OVER}.model.dropout.uniform: received [0.2, 0.1], expected the smaller bound first",
        ),
        (
            "  over: {model.dropout: {log_uniform: [0, 0.1]}}\n  trials: 2",
            f"9: {OVER}.model.dropout.log_uniform: received [0.0, 0.1], expected bounds above 0",
        ),
        (
            "  over: {model.dropout: {log_uniform: [0.1, 0.2], uniform: [0.1, 0.2]}}\n  trials: 2",
            f"9: {OVER}.model.dropout.log_uniform: is there beside uniform; expected one of them",
        ),
        (
            "  over: {}",
            f"9: {OVER}: received an empty mapping, expected at least one key, such as model.encoder.units",
        ),
        (
            "  over: {model.dropout: [0.1]}\n  repeat: 20000",
            "8: sweep: 1 settings with 20000 seeds are more than 10,000 trials; shorten the lists, or draw "
            "fewer",
        ),
        (
            "  over: {train.epochs: [5, 9]}\n  halving: {}",
            "10: sweep.halving: received trials of 5 to 9 epochs, expected the same of all, as they stop "
            "together; do not sweep train.epochs, or remove halving",
        ),
        (
            "  over: {train.epochs: [5, null]}\n  halving: {}",
            "10: sweep.halving: received no train.epochs, expected a number, as trials stop together on the "
            "way to it; write train.epochs, or remove halving",
        ),
        (
            "  over: {model.dropout: [0.1, 0.2]}\n  halving: {min_epochs: 9}",
            "10: sweep.halving.min_epochs: received 9, expected less than train.epochs, which is 9",
        ),
        (
            "  over: {tokenize.text.type: [characters, words], tokenize.text.case_fold: [true, false], "
            "tokenize.text.max_sequence_length: [1, 2, 3, 4, 5]}",
            f"9: {OVER}: gives 20 different sections tokenize, expected at most 16, as all are branches "
            "of the job; sweep fewer of its settings",
        ),
    ],
)
def test_a_mistake_with_its_line(sweep: str, expected: str):
    assert problems(sweep + "\n") == [f"run.yaml:{expected}"]


def test_trials_whose_settings_do_not_fit_each_other():
    sweep = "  over: {model.encoder.type: [gru, memory_network], model.encoder.num_layers: [1, 2]}\n"
    found = problems(sweep)
    assert [line.partition(": unknown key")[0] for line in found] == [
        f"run.yaml:9: {OVER}: trial 3 (encoder memory_network, num_layers 1): model.encoder.num_layers",
        f"run.yaml:9: {OVER}: trial 4 (encoder memory_network, num_layers 2): model.encoder.num_layers",
    ]


def test_trials_whose_sections_do_not_fit_each_other():
    sweep = "  over: {model.bridge: [dense, copy], model.decoder.units: [8, 9]}\n"
    base = SEQ2SEQ.replace("units: 8}\n", "units: 8}\n  decoder: {type: gru, units: 8}\n")
    (found,) = problems(sweep, base=base)
    assert found.startswith(
        f"run.yaml:10: {OVER}: trial 4 (bridge copy, units 9): model.bridge: received 'copy' of 1 x 1 states"
    )


def test_many_trials_that_are_refused_are_counted():
    sweep = (
        f"  over: {{model.encoder.type: [memory_network], model.encoder.num_layers: {list(range(1, 31))}}}\n"
    )
    found = problems(sweep)
    assert len(found) == 21
    assert found[-1] == f"run.yaml:9: {OVER}: 10 more trials are refused"


def test_what_trials_are_ranked_by_must_be_measured():
    over = "  over: {model.dropout: [0.1, 0.2]}\n  monitor: accuracy\n"
    found = problems(over, "train.monitor=macro_f1")
    assert len(found) == 2
    assert found[0] == (
        f"run.yaml:9: {OVER}: trial 1 (dropout 0.1): train.monitor: received 'macro_f1', expected "
        "'accuracy', which is sweep.monitor; remove one of them"
    )
    (found,) = problems(
        "  over: {model.dropout: [0.1]}\n",
        "ingest.holdout={}",
        "ingest.files={train: train.tsv, test: train.tsv}",
    )
    assert found == (
        "run.yaml:8: sweep: ranks trials on the validation split, but there is none; name files for "
        "validation in ingest.files, or give it a fraction in ingest.holdout"
    )


def test_what_has_no_loss_and_what_does_not_start_alike():
    readout = "{encoder: {type: echo_state_rnn, units: 8}, readout: {type: ridge}}"
    (found,) = problems("  over: {model.embedding_size: [4]}\n", f"model={readout}")
    assert found == (
        f"run.yaml:9: {OVER}: trial 1 (embedding_size 4): model.readout: what is solved in closed form has "
        "no loss to be ranked by; set sweep.monitor to a metric, such as accuracy"
    )
    over = "  over: {model.embedding_size: [4]}\n  monitor: accuracy\n"
    (found,) = problems(f"{over}  halving: {{}}\n", f"model={readout}", "train.epochs=4")
    assert found == (
        f"run.yaml:9: {OVER}: trial 1 (embedding_size 4): model.readout: what is solved in closed form has "
        "no epochs to stop after; remove sweep.halving"
    )
    (found,) = problems("  over: {model.dropout: [0.1]}\n", "train.init_from=x")
    assert found == (
        "--set train.init_from=x: train.init_from: does not go with a sweep, whose trials start from drawn "
        "weights; remove one of them"
    )


def test_only_the_sweep_is_told_of_a_value_that_it_fills_in():
    base = BASE.replace("  encoder: {type: gru, units: 8}\n", "  encoder: {type: gru}\n")
    assert problems("  over: {model.encoder.units: [0, 4]}\n", base=base) == [
        f"run.yaml:9: {OVER}.model.encoder.units.0: received 0, expected a whole number above 0"
    ]


def test_other_problems_are_told_as_well():
    found = problems("  over: {model.encoder.units: [0, 4]}\n", "train.epochs=0")
    assert found == [
        f"run.yaml:9: {OVER}.model.encoder.units.0: received 0, expected a whole number above 0",
        "--set train.epochs=0: train.epochs: received 0, expected a whole number of at least 1 or null",
    ]
