"""Whether the tokenizers of an earlier model can be extended."""

from __future__ import annotations

from collections.abc import Mapping

from components.artifacts.tokens import Tokens
from components.errors import UserError
from components.tokenize.config import Auto, Tokenizer, TokenizerConfig

# What a token is. What else a section holds says how many there are, and how much of a text is kept.
_SAME = ("type", "model_type", "normalize", "case_fold")


def check_tokenizers(earlier: Tokens, configs: Mapping[str, Tokenizer]) -> None:
    """Checks that tokenizers split texts as those of an earlier model do.

    Args:
        earlier: the tokenize artifact of that model.
        configs: by text field, the tokenizers that are to extend its; an `auto` becomes what its are.

    Raises:
        UserError: they do not, or the earlier model is for another task; the message names what differs.
    """
    if earlier.text_fields() != sorted(configs):
        raise UserError(
            f"train.init_from: the earlier model has tokenizers for {' and '.join(earlier.text_fields())}, "
            f"expected {' and '.join(sorted(configs))}. Name a model of the same task, or remove the key."
        )
    try:
        theirs_by_field = {field: earlier.tokenizer_config(field) for field in configs}
    except ValueError as error:
        raise UserError(
            "train.init_from: the tokenizers of the earlier model are of another version of rnnpipe, which "
            "this one cannot read. Train that model again with this version, or remove train.init_from."
        ) from error
    differences = [
        f"tokenize.{field}.{name} is {ours}, of the earlier model {theirs}"
        for field, config in configs.items()
        if not isinstance(config, Auto)
        for name, ours, theirs in _differences(config, theirs_by_field[field])
    ]
    if differences:
        raise UserError(
            f"train.init_from: the tokenizers differ from those of the earlier model, expected the same: "
            f"{'; '.join(differences)}. Set them as they were, or remove train.init_from."
        )


def _differences(config: TokenizerConfig, earlier: TokenizerConfig) -> list[tuple[str, object, object]]:
    pairs = [(name, getattr(config, name, None), getattr(earlier, name, None)) for name in _SAME]
    if config.type != earlier.type:
        return pairs[:1]
    return [(name, ours, theirs) for name, ours, theirs in pairs if ours != theirs]
