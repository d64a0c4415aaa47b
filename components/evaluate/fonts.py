"""Labels in any script, by whichever of the installed fonts have the glyphs.

From 3.11 on, Matplotlib joins and orders the letters of Arabic and other complex scripts; earlier versions
draw them singly and from left to right.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence


def drawable(texts: Sequence[str], longest: int) -> tuple[list[str], list[str]]:
    """Prepares texts to be drawn.

    Args:
        texts: in any script.
        longest: characters of a text after which it is cut.

    Returns:
        The texts, in which a character that no font has is written as <code point>, and the font families
        that draw them together.
    """
    characters = {character for text in texts for character in text if character.isprintable()}
    families = _families(characters)
    written = [_written(text, families, longest) for text in texts]
    return written, list(dict.fromkeys([_candidates()[0], *families.values()]))


def _written(text: str, known: Iterable[str], longest: int) -> str:
    written = ""
    for character in text:
        written += character if character in known else f"<{ord(character):X}>"
        if len(written) > longest:
            return written[:longest] + "…"
    return written


def _families(characters: set[str]) -> dict[str, str]:
    """The first family that has each character, as far as there is one."""
    families: dict[str, str] = {}
    for family in _candidates():
        missing = characters - families.keys()
        if not missing:
            break
        families |= dict.fromkeys(_known(family, missing), family)
    return families


@functools.cache
def _candidates() -> tuple[str, ...]:
    """Matplotlib's default family, then the installed ones, those without serifs first."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    default = get_font(findfont(FontProperties())).family_name
    # Matplotlib's own fonts beside the default are for formulas, with glyphs in places of their own.
    installed = {font.name for font in fontManager.ttflist if not str(font.fname).startswith(get_data_path())}
    text = {
        name for name in installed if not name.startswith(".") and "LastResort" not in name.replace(" ", "")
    }
    return (default, *sorted(text - {default}, key=lambda name: ("Sans" not in name, name)))


def _known(family: str, characters: set[str]) -> set[str]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    try:
        font = get_font(findfont(FontProperties(family=[family]), fallback_to_default=False))
    except (OSError, RuntimeError, ValueError):  # gone, or no format that can be read
        return set()
    if not font.scalable:  # bitmaps, such as of emoji, cannot be drawn
        return set()
    return {character for character in characters if font.get_char_index(ord(character))}
