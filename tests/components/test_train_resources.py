"""Where the training runs: resource hints of its steps, and of no other."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.common_urns import resource_hints
from apache_beam.transforms.resources import parse_resource_hints
from pydantic import ValidationError
from stage_runner import run_transform
from tiny_training import MODEL, make_texts

from components import files
from components.models.config import ModelConfig
from components.train.config import TrainConfig
from components.train.resources import Resources
from components.train.transform import Train, Trial
from components.work import Work

GPU = {"accelerator": "type:nvidia-tesla-t4;count:1;install-nvidia-driver", "min_ram": "8GB", "cpus": 4}
URNS = [
    hint.urn for hint in (resource_hints.ACCELERATOR, resource_hints.MIN_RAM_BYTES, resource_hints.CPU_COUNT)
]
RESERVOIR = ModelConfig.model_validate(
    {"encoder": {"type": "echo_state_rnn", "units": 8}, "readout": {"type": "ridge", "alphas": [1.0]}}
)
TFIDF = ModelConfig.model_validate({"encoder": {"type": "tfidf"}})


def trial(root, name, resources, model=MODEL):
    config = TrainConfig.model_validate({"epochs": 1, "batch_size": 32, "resources": resources})
    work = Work(files.resolve(root), "train", name.replace(" ", "-"), root / name, node=name)
    return Trial(config, model, "classification", 3, work)


def hinted(trials):
    """The hints of all primitive and composite steps, by the names of those that have any."""
    pipeline = beam.Pipeline(options=PipelineOptions([]))
    pipeline | "nodes" >> beam.Create([(name, {}) for name in trials]) | "train" >> Train(trials)
    components = pipeline.to_runner_api().components
    environments = components.environments
    return {
        step.unique_name: tuple(
            environments[step.environment_id].resource_hints.get(urn, b"") for urn in URNS
        )
        for step in components.transforms.values()
        if step.environment_id and environments[step.environment_id].resource_hints
    }


def test_only_the_training_has_hints(tmp_path):
    assert hinted({"train": trial(tmp_path, "train", GPU)}) == {
        "train/fit": (b"type:nvidia-tesla-t4;count:1;install-nvidia-driver", b"8000000000", b"4")
    }
    assert hinted({"train": trial(tmp_path, "train", None)}) == {}
    assert hinted({"train": trial(tmp_path, "train", {"cpus": 2}, TFIDF)}) == {"train/fit": (b"", b"", b"2")}


def test_all_steps_of_a_readout_have_hints(tmp_path):
    found = hinted({"train": trial(tmp_path, "train", {"min_ram": "2GiB"}, RESERVOIR)})
    assert set(found.values()) == {(b"", b"2147483648", b"")}
    assert {"train/train readout/draw", "train/train readout/features", "train/train readout/solve"} <= set(
        found
    )
    assert all(name.startswith("train/train readout") for name in found)


def test_trials_that_need_other_machines_are_fitted_in_other_steps(tmp_path):
    trials = {
        "train": trial(tmp_path, "train", {"cpus": 2}),
        "train 2": trial(tmp_path, "train 2", None),
        "train 3": trial(tmp_path, "train 3", {"min_ram": "8GB"}),
        "train 4": trial(tmp_path, "train 4", {"cpus": 2}),
    }
    assert hinted(trials) == {"train/fit": (b"", b"", b"2"), "train/fit 3": (b"", b"8000000000", b"")}
    tokens = make_texts(tmp_path / "tokens")
    found = run_transform(Train(trials), [(name, {"tokenize": tokens.reference}) for name in trials])
    assert sorted(name for name, _ in found) == sorted(trials)  # each once, and by Beam's local runner
    assert len({made.summary["weights"] for _, made in found}) == 1


@pytest.mark.parametrize(
    "size", ["1B", "1KB", "2.5MB", "8GB", "8 GB", "1TB", "1PB", "1KiB", "1MiB", "30GiB", "1TiB", "1PiB"]
)
def test_sizes_are_those_of_beam(size):
    resources = Resources(min_ram=size)
    (amount,) = parse_resource_hints(resources.hints()).values()
    assert int(amount) > 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"min_ram": "8"}, "received '8', expected a number above 0 with a unit of B, KB"),
        ({"min_ram": "8gb"}, "received '8gb'"),
        ({"min_ram": "0GB"}, "received '0GB'"),
        ({"min_ram": "-1GB"}, "received '-1GB'"),
        ({"accelerator": "nvidia-tesla-t4"}, "received 'nvidia-tesla-t4', expected a type, a count"),
        ({"accelerator": "type:nvidia-tesla-t4;count:0"}, "count:0', expected a type, a count"),
        ({"accelerator": "count:1;type:nvidia-tesla-t4"}, "expected a type, a count"),
        ({"cpus": 0}, "greater than or equal to 1"),
        ({"gpus": 1}, "Extra inputs"),
    ],
)
def test_what_beam_cannot_read_is_refused(settings, expected):
    with pytest.raises(ValidationError, match=expected.replace("(", r"\(")):
        Resources.model_validate(settings)
