"""Matplotlib's figures, without pyplot: no state that threads could share, and no window."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE = "#2b6cb0", "#dd6b20"


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Makes an empty figure, of so many inches."""
    # It would tell every user, once, that it builds its cache of fonts.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout=layout)
