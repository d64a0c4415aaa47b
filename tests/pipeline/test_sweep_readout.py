"""A sweep over networks that are trained in different ways: by gradient, and in closed form."""

import pytest
import tiny

from components.artifacts.trained_model import TrainedModel
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.run.observe import read_records

pytestmark = pytest.mark.slow

NETWORKS = """\
sweep:
  over:
    model:
      - {embedding_size: 8, encoder: {type: gru, units: 2}, pooling: max}
      - embedding_size: 8
        encoder: {type: echo_state_rnn, units: 40}
        pooling: mean
        readout: {type: ridge, alphas: [0.1, 1.0]}
  monitor: accuracy
"""


def test_a_readout_in_closed_form_is_ranked_by_what_it_reaches_on_validation(tmp_path):
    path = tiny.make(tmp_path)
    path.write_text(path.read_text().replace("epochs: 2", "epochs: 1") + NETWORKS)
    code, said = tiny.run(path, "tracking.enabled=false", "evaluate.bless=always")
    assert code == 0, said
    (record,) = read_records(Places.of(load_config(path)).root)
    (rung,) = record.rungs
    scores = {trial: score.value for each in rung.ranking for trial, score in each.scores.items()}
    reached = {
        trial: TrainedModel.load(record.nodes[name].reference).summary["val_accuracy"]
        for trial, name in rung.nodes.items()
    }
    assert scores == reached
    assert record.pick == max(scores, key=scores.get)
    assert record.nodes["train 2"].summary["ridge"] in (0.1, 1.0)
    assert record.metrics["accuracy"] > 0.5
