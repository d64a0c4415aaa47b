"""What the classes of the encoders and decoders say of their layers is true."""

import re
from pathlib import Path

import numpy as np
import pytest

from components.models.attentions import ATTENTIONS
from components.models.config import ModelConfig
from components.models.decoders import DECODERS
from components.models.encoders import ENCODERS
from components.models.encoders.tfidf import DocumentFrequencies
from components.models.seq2seq import Seq2Seq

ROOT = Path(__file__).parents[2]
SETTINGS = [
    *({"type": name} for name in ENCODERS.types),
    *(
        {"type": name, "bidirectional": True, "num_layers": 2}
        for name, kind in ENCODERS.types.items()
        if "bidirectional" in kind.model_fields
    ),
    {"type": "tfidf", "num_layers": 2},
    {"type": "text_cnn", "kernel_sizes": [2, 3]},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_final_states_have_the_widths_that_are_promised(settings):
    size = "filters" if settings["type"] == "text_cnn" else "units"
    encoder = ModelConfig.model_validate({"encoder": {**settings, size: 6}}).encoder
    tokens = np.array([[4, 5, 6, 7, 4, 5], [4, 5, 0, 0, 0, 0]], "int32")
    inputs = tokens if encoder.reads_tokens else np.ones((2, 6, 3), "float32")
    outputs, states = encoder.encoder(9)(inputs, mask=tokens != 0)
    assert encoder.final_states() == [[state.shape[-1] for state in layer] for layer in states]
    assert outputs.shape[-1] == encoder.final_states()[-1][0]


def test_tfidf_without_layers_does_not_know_its_width():
    encoder = ModelConfig.model_validate({"encoder": {"type": "tfidf", "num_layers": 0}}).encoder
    assert encoder.final_states() is None


@pytest.mark.parametrize("name", DECODERS.types)
def test_hidden_states_of_decoders_come_first_and_are_as_wide_as_the_layer(name):
    model = ModelConfig.model_validate({"encoder": {"type": "gru"}, "decoder": {"type": name, "units": 6}})
    sizes = Seq2Seq(model, source_size=9, target_size=9).decoder.state_sizes[0]
    assert list(sizes[: model.decoder.hidden_states]) == [6] * model.decoder.hidden_states


def test_document_frequencies_add_up():
    one, other = DocumentFrequencies(np.array([1, 2]), 3), DocumentFrequencies(np.array([4, 0]), 5)
    both = one + other
    assert (both.frequencies.tolist(), both.documents) == ([5, 2], 8)


def test_an_encoder_that_adapts_must_say_how():
    encoder = ModelConfig.model_validate({"encoder": {"type": "gru"}}).encoder
    with pytest.raises(NotImplementedError, match="GRUEncoder adapts, but does not define `summarize`"):
        encoder.summarize(None, [])
    with pytest.raises(NotImplementedError, match="`adapt`"):
        encoder.adapt(None, None)


def test_only_its_own_files_name_a_type():
    """Nowhere else a class of an encoder, decoder or attention, nor a comparison with its `type`."""
    classes = [kind for each in (ENCODERS, DECODERS, ATTENTIONS) for kind in each.types.values()]
    names = "|".join(kind.__name__ for kind in classes)
    pattern = re.compile(rf"\b({names})\b|\b(encoder|decoder|attention)\.type *(==|!=|in)\s")
    own = ("components/models/encoders/", "components/models/decoders.py", "components/models/attentions.py")
    found = [
        f"{name}: {match.group()}"
        for package in ("components", "pipeline")
        for path in (ROOT / package).rglob("*.py")
        if not (name := path.relative_to(ROOT).as_posix()).startswith(own)
        for match in pattern.finditer(path.read_text("utf-8"))
    ]
    assert found == []
