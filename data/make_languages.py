"""Makes data/languages: names of countries, languages, currencies, ... in many languages, and the language.

    python data/make_languages.py

`Vereinigte Staaten` -> `de`. The names are those that the Unicode CLDR gives each language for territories,
languages, scripts, variants, currencies, units, months, days, quarters, parts of the day and eras, in full
rather than abbreviated, as Babel reads them. A name that two of the languages share is left out, and so is
what has fewer than two letters; no language has more than `CAP` names. The three splits are one shuffled list
cut in three.

Babel is needed to make the files, not to use them. The names are CLDR's, (c) Unicode, Inc., under the Unicode
License v3 (https://www.unicode.org/license.txt).
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from babel import Locale
from splitting import Row, clean, comparable, write_splits

LANGUAGES = (
    "ar", "bg", "bn", "cs", "cy", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr", "ga", "gu",
    "he", "hi", "hu", "hy", "is", "it", "ja", "ka", "km", "kn", "ko", "lt", "lv", "ml", "nl", "pl",
    "ro", "ru", "sq", "sr", "sv", "ta", "te", "th", "tr", "uk", "vi", "zh",
)  # fmt: skip
CAP = 832
"""Most names of one language: with it, the rows are about 36,000."""


def names(locale: Locale) -> Iterator[str]:
    """Lists what CLDR names in a language.

    Args:
        locale: The locale of the language.

    Yields:
        Each name; some more than once.
    """
    for table in (locale.territories, locale.languages, locale.scripts, locale.variants, locale.currencies):
        yield from table.values()
    for forms in locale.unit_display_names.values():
        if "long" in forms:
            yield forms["long"]
    for contexts in (locale.months, locale.days, locale.quarters, locale.day_periods):
        for widths in contexts.values():
            yield from widths.get("wide", {}).values()
    yield from locale.eras["wide"].values()


def is_name(text: str) -> bool:
    """Whether a text is words, without a number's or a placeholder's look or a quote that a reader might eat.

    Args:
        text: The text, cleaned.

    Returns:
        Whether to keep it.
    """
    return sum(map(str.isalpha, text)) >= 2 and not set(text) & set('{}"')


def make_rows(seed: int) -> list[Row]:
    """Collects the names that belong to one language only.

    Args:
        seed: Seed of the choice where a language has more than `CAP` names.

    Returns:
        Pairs of name and language code; no name twice, in the sense of `comparable`.
    """
    texts: dict[str, str] = {}
    owners: dict[str, set[str]] = {}
    for language in LANGUAGES:
        for text in filter(is_name, map(clean, names(Locale.parse(language)))):
            key = comparable(text)
            texts.setdefault(key, text)
            owners.setdefault(key, set()).add(language)
    own: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    for key, languages in owners.items():
        if len(languages) == 1:
            own[min(languages)].append(texts[key])
    draw = random.Random(seed)
    return [
        (text, language)
        for language, candidates in own.items()
        for text in draw.sample(sorted(candidates), min(CAP, len(candidates)))
    ]


def main() -> None:
    """Writes the three files."""
    parser = argparse.ArgumentParser(description="Names in many languages, and the language.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "languages")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rows = make_rows(arguments.seed)
    print(
        write_splits(
            rows, ("text", "label"), held_out=len(rows) // 10, seed=arguments.seed, output=arguments.output
        )
    )


if __name__ == "__main__":
    main()
