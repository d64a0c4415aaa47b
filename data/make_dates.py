"""Makes data/dates: dates as people write them, in many languages, and the same dates in ISO 8601.

    python data/make_dates.py

`12. März 2024` -> `2024-03-12`. The texts are the Gregorian dates from 1900-01-01 to 2099-12-31, written with
the patterns and names that the Unicode CLDR gives for each locale, as Babel reads them. Every locale has the
same number of texts in every month, shared by its patterns; day and year are drawn at random, and the
three splits are one shuffled list cut in three.

Every text has a four-digit year and a month that cannot be taken for a day, and stands for one date: a text
that two locales read differently is left out. So are locales whose own calendar or digits are not those of
these texts (Thai, Persian, Arabic, Bengali, ...).

Babel is needed to make the files, not to use them. The names are CLDR's, (c) Unicode, Inc., under the Unicode
License v3 (https://www.unicode.org/license.txt).
"""

import argparse
import random
import re
from calendar import monthrange
from datetime import date
from pathlib import Path

from babel import Locale
from babel.dates import DateTimePattern, parse_pattern
from splitting import Row, clean, comparable, write_splits

LOCALES = (
    "af", "be", "bg", "ca", "cs", "cy", "da", "de", "el", "en", "en_GB", "es", "et", "fi", "fr", "ga",
    "gl", "he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ko", "lt", "lv", "mk", "ms", "nb",
    "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "tr", "uk", "vi", "zh",
)  # fmt: skip
SKELETONS = ("yMMMd", "yMMMMd", "yMMMEd", "yMMMMEd", "yMMMEEEEd", "yMMMMEEEEd", "GyMMMd", "GyMMMEd")
"""CLDR's names for: year, month in letters, day; with the weekday (E) and the era (G), shorter or longer."""

UNMISTAKABLE_MONTH = re.compile("MMM|M月")
"""A month in letters, or a number that says that it is a month."""

FIRST_YEAR, LAST_YEAR = 1900, 2099
HELD_OUT = 2_000
TOTAL = 30_000 + 2 * HELD_OUT


def patterns(locale: Locale) -> list[DateTimePattern]:
    """The ways to write a date in which day and month cannot be mistaken for each other.

    They are CLDR's full, long and medium date, its skeletons above, and the full and long dates with one of
    their names shortened, as CLDR derives a pattern that it does not list (UTS #35, Matching Skeletons).

    Args:
        locale: The locale whose patterns to list.

    Returns:
        The patterns, without those that write the same as an earlier one.
    """
    full, long, medium = (locale.date_formats[length].pattern for length in ("full", "long", "medium"))
    listed = [
        locale.datetime_skeletons[name].pattern for name in SKELETONS if name in locale.datetime_skeletons
    ]
    shortened = [
        re.sub("EEEE|cccc", "EEE", full),
        full.replace("MMMM", "MMM"),
        long.replace("MMMM", "MMM"),
    ]
    samples = [date(2024, month, month) for month in range(1, 13)]
    distinct: dict[tuple[str, ...], DateTimePattern] = {}
    for text in [full, long, medium, *listed, *shortened]:
        if UNMISTAKABLE_MONTH.search(text):
            pattern = parse_pattern(text)
            distinct.setdefault(tuple(pattern.apply(sample, locale) for sample in samples), pattern)
    return list(distinct.values())


def make_rows(seed: int) -> list[Row]:
    """Draws the texts.

    Args:
        seed: Seed of the drawing.

    Returns:
        `TOTAL` pairs of text and ISO date; no text twice, in the sense of `comparable`.
    """
    draw = random.Random(seed)
    quota = -(-TOTAL // (len(LOCALES) * 12))
    meaning: dict[str, str] = {}
    texts: dict[str, str] = {}
    ambiguous: set[str] = set()
    for name in LOCALES:
        locale = Locale.parse(name)
        ways = patterns(locale)
        for month in range(1, 13):
            made = 0
            while made < quota:
                year = draw.randint(FIRST_YEAR, LAST_YEAR)
                day = date(year, month, draw.randint(1, monthrange(year, month)[1]))
                text = clean(ways[made % len(ways)].apply(day, locale))
                key = comparable(text)
                if key not in meaning:
                    meaning[key], texts[key] = day.isoformat(), text
                    made += 1
                elif meaning[key] != day.isoformat():
                    ambiguous.add(key)
    rows = [(texts[key], meaning[key]) for key in texts if key not in ambiguous]
    draw.shuffle(rows)
    return rows[:TOTAL]


def main() -> None:
    """Writes the three files."""
    parser = argparse.ArgumentParser(description="Dates in many languages, and in ISO 8601.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "dates")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rows = make_rows(arguments.seed)
    print(
        write_splits(rows, ("text", "iso"), held_out=HELD_OUT, seed=arguments.seed, output=arguments.output)
    )


if __name__ == "__main__":
    main()
