"""Seeds of several weights from one."""

from __future__ import annotations

from typing import Any

import keras


def with_shifted_seed(initializer: Any, offset: int) -> Any:
    """Copies an initializer for one more weight: the same seed would draw the same numbers again.

    Args:
        initializer: As `keras.initializers.get` returns it; a plain function is returned as it is.
        offset: What to add to an integer seed.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += offset
    return type(initializer).from_config(config)
