"""The learning rate at every step of real trainings, beside the formulas."""

import hashlib

import numpy as np
import pytest
from tiny_training import KilledError, kill_after, make_texts, trainer

from components.errors import UserError
from components.models.config import ModelConfig
from components.reports import Warned, listening
from components.train.progress import TrainingProgress

DENSE = ModelConfig.model_validate({"encoder": {"type": "tfidf", "units": 4, "hash_bins": 20}})
LARGEST = 0.3


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def rates(monkeypatch):
    """What the optimizer says of its learning rate before the first step of a fit, and after every step."""
    seen = []

    def follow(training):
        def step(self, epoch, done, loss):
            seen.append(float(training.model.optimizer.learning_rate))

        seen.append(float(training.model.optimizer.learning_rate))
        monkeypatch.setattr(TrainingProgress, "step", step)
        return seen

    return follow


def make(tokens, folder, schedule, attempt="a", **settings):
    settings = {
        "epochs": 3,
        "model": DENSE,
        "optimizer": {"type": "sgd", "learning_rate": LARGEST},
        **settings,
    }
    return trainer(tokens, folder, attempt=attempt, learning_rate_schedule=schedule, **settings)


def constant(step, total, warmup):
    return LARGEST


def cosine(step, total, warmup):
    return LARGEST * (1 + np.cos(np.pi * (step - warmup) / (total - warmup))) / 2


def linear(step, total, warmup):
    return LARGEST * (total - step) / (total - warmup)


def inverse_sqrt(step, total, warmup):
    return LARGEST * np.sqrt(warmup / step)


@pytest.mark.parametrize(
    ("after", "warmup"),
    [
        *((after, warmup) for after in (constant, cosine, linear) for warmup in (0, 1, 10)),
        (inverse_sqrt, 1),
        (inverse_sqrt, 10),
    ],
)
def test_the_learning_rate_at_every_step(tokens, tmp_path, rates, after, warmup):
    schedule = {"type": after.__name__, "warmup_steps": warmup}
    training = make(tokens, tmp_path / "whole", schedule)
    total = 3 * training.steps
    seen = rates(training)
    training.fit()
    expected = [
        LARGEST * step / warmup if step < warmup else after(step, total, warmup) for step in range(total + 1)
    ]
    np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-8)
    # Resumed after the second epoch, the rest is the same.
    killed = make(tokens, tmp_path / "killed", schedule)
    with listening(kill_after(2)), pytest.raises(KilledError):
        killed.fit()
    resumed = make(tokens, tmp_path / "killed", schedule, attempt="b")
    after_restart = rates(resumed)
    resumed.fit()
    assert after_restart[-training.steps :] == seen[2 * training.steps + 1 : total + 1]


def test_the_rate_is_the_one_of_the_step(tokens, tmp_path):
    """Plain descent: the weights move by the gradient times the rate, so not at all at rate 0."""
    warm = make(tokens, tmp_path, {"type": "constant", "warmup_steps": 1000}, epochs=1)
    before = [variable.numpy() for variable in warm.model.trainable_variables]
    moved = []

    def first(self, epoch, done, loss):
        now = warm.model.trainable_variables
        moved.append(max(np.abs(a - b.numpy()).max() for a, b in zip(before, now, strict=True)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingProgress, "step", first)
        warm.fit()
    assert moved[0] == 0
    assert moved[1] > 0


def by_chance(model):
    digest = hashlib.sha256(
        b"".join(np.ascontiguousarray(weights).tobytes() for weights in model.get_weights())
    )
    return int(digest.hexdigest()[:8], 16) / 16**8


@pytest.mark.parametrize("monitor", ["macro_f1", "calibration_error"])
@pytest.mark.parametrize("warmup", [0, 7])
def test_plateau_at_every_step(tokens, tmp_path, rates, warmup, monitor):
    schedule = {"type": "plateau", "warmup_steps": warmup, "factor": 0.5, "patience": 2, "min_delta": 0.01}
    schedule["min_learning_rate"] = LARGEST / 6
    settings = {
        "epochs": 3,
        "monitor": monitor,
        "measure": by_chance,
        "validate_every": {"steps": 2},
    }
    training = make(tokens, tmp_path / "whole", schedule, **settings)
    rates_seen = rates(training)
    history = training.fit()
    seen = list(rates_seen)
    sign = 1 if monitor == "macro_f1" else -1
    values = {each["step"]: sign * each[f"val_{monitor}"] for each in history["validations"]}
    expected, rate, best, waited = [], LARGEST, -np.inf, 0
    for step in range(len(seen)):
        # Read after the step, and before its validation; the next step has the new one.
        expected.append(rate * min(1, step / warmup) if warmup else rate)
        if step in values:
            waited = 0 if values[step] > best + 0.01 else waited + 1
            best = values[step] if not waited else best
            if waited == 2:
                rate, waited = max(rate * 0.5, LARGEST / 6), 0
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    assert len({each for each in seen if each <= LARGEST / 2}) > 1
    recorded = [each["learning_rate"] for each in history["validations"]]
    np.testing.assert_allclose(recorded, [expected[step] for step in values], rtol=1e-6)
    with listening(kill_after(2)), pytest.raises(KilledError):
        make(tokens, tmp_path / "killed", schedule, **settings).fit()
    resumed = make(tokens, tmp_path / "killed", schedule, attempt="b", **settings)
    after_restart = rates(resumed)
    resumed.fit()
    assert after_restart[-training.steps :] == seen[2 * training.steps + 1 :]


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_a_warm_up_that_leaves_no_steps(tokens, tmp_path, kind):
    with pytest.raises(UserError, match=r"warmup_steps 100, but all epochs together have \d+ training steps"):
        make(tokens, tmp_path, {"type": kind, "warmup_steps": 100})


def test_a_warm_up_that_never_ends_is_warned_of(tokens, tmp_path):
    events = []
    with listening(events.append):
        make(tokens, tmp_path, "inverse_sqrt")
    (said,) = (event.message for event in events if isinstance(event, Warned))
    assert "4000 training steps, but all epochs together have" in said
