"""Inputs that the tests of AttentionDecoder share."""

import numpy as np
import pytest
from decoder_cases import BATCH, FEATURES, MEMORY_WIDTH, SOURCE, TIME, random


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES)


@pytest.fixture
def memory() -> np.ndarray:
    return random(BATCH, SOURCE, MEMORY_WIDTH, seed=1)


@pytest.fixture
def mask() -> np.ndarray:
    """The last row has nothing to read."""
    return np.arange(SOURCE) < np.array([[SOURCE], [2], [0]])
