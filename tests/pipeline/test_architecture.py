"""docs/architecture.md shows what the tests run, and names places that are there."""

import re
from pathlib import Path

import own_modules
import pytest
import word_counts

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", [own_modules.LAYERS, own_modules.ENCODERS, own_modules.METRICS])
def test_the_examples_of_layers_and_metrics_are_those_that_are_run(module):
    assert f"```python\n{module}```" in PAGE


def test_the_example_of_a_stage_is_the_one_that_is_run():
    source = Path(word_counts.__file__).read_text(encoding="utf-8")
    assert f"```python\n{source[source.index('class WordCounts') :]}```" in PAGE


def test_every_file_that_is_named_is_there():
    named = set(re.findall(r"`((?:pipeline|components|layers|tests)/[\w/]+\.py)`", PAGE))
    assert len(named) > 10
    assert {name for name in named if not (REPOSITORY / name).is_file()} == set()
