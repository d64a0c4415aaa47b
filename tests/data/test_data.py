"""The committed data sets are what data/README.md says, and the scripts make them again."""

import importlib.metadata
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

DATA = Path(__file__).parents[2] / "data"
SETS = {"dates": ("text", "iso"), "languages": ("text", "label"), "stories": ("story", "answer")}
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DATA)


def script(name: str) -> ModuleType:
    pytest.importorskip("babel", reason="the scripts read CLDR through Babel")
    return importlib.import_module(name)


def read(name: str, split: str) -> list[tuple[str, str]]:
    text = (DATA / name / f"{split}.tsv").read_text(encoding="utf-8")
    assert text.endswith("\n")
    header, *lines = text[:-1].split("\n")
    assert tuple(header.split("\t")) == SETS[name]
    rows = [tuple(line.split("\t")) for line in lines]
    assert {len(row) for row in rows} == {2}
    return rows  # type: ignore[return-value]


def test_number_of_rows() -> None:
    assert [len(read("dates", split)) for split in SPLITS] == [30_000, 2_000, 2_000]
    train, validation, test = (len(read("languages", split)) for split in SPLITS)
    assert train + validation + test == pytest.approx(36_000, rel=0.03)
    assert validation == test == pytest.approx(0.1 * (train + validation + test), abs=1)


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*.tsv")) < 5_000_000


@pytest.mark.parametrize("name", SETS)
def test_no_text_twice(name: str) -> None:
    comparable = importlib.import_module("splitting").comparable
    texts = Counter(comparable(text) for split in SPLITS for text, _ in read(name, split))
    assert max(texts.values()) == 1


@pytest.mark.parametrize("name", SETS)
def test_texts_are_clean(name: str) -> None:
    clean = importlib.import_module("splitting").clean
    for split in SPLITS:
        for text, _ in read(name, split):
            assert text == clean(text)
            assert text
            assert not set(text) & set('{}"')


def test_texts_equal_but_for_case_width_or_space_are_comparable() -> None:
    comparable = importlib.import_module("splitting").comparable
    assert comparable(" 12.\u00a0März  2024") == comparable("12. MA\u0308RZ ２０２４")
    assert comparable("Marz") != comparable("März")


def test_dates_are_iso_dates_in_range() -> None:
    for split in SPLITS:
        for text, iso in read("dates", split):
            day = date.fromisoformat(iso)
            assert iso == day.isoformat()
            assert date(1900, 1, 1) <= day <= date(2099, 12, 31)
            assert {int(number) for number in re.findall("[0-9]+", text)} >= {day.year, day.day}
            assert f"{day.year}" in text


def test_date_texts_name_their_month() -> None:
    numbers_only = re.compile(r"[^\w]*([0-9]+[^\w]*)+")
    assert not [text for split in SPLITS for text, _ in read("dates", split) if numbers_only.fullmatch(text)]


def test_locales_and_patterns() -> None:
    make_dates = script("make_dates")
    from babel import Locale

    assert len(set(make_dates.LOCALES)) >= 40
    for name in make_dates.LOCALES:
        locale = Locale.parse(name)
        assert locale.default_numbering_system == "latn"
        patterns = make_dates.patterns(locale)
        assert len(patterns) >= 5
        for pattern in patterns:
            assert make_dates.UNMISTAKABLE_MONTH.search(pattern.pattern)


def test_german_long_date() -> None:
    make_dates = script("make_dates")
    from babel import Locale

    german = Locale.parse("de")
    texts = {pattern.apply(date(2024, 3, 12), german) for pattern in make_dates.patterns(german)}
    assert "12. März 2024" in texts
    assert "12.03.2024" not in texts


def test_no_text_means_two_dates_in_any_locales() -> None:
    """Two readings of one text share year and day, which are in it as numbers, so they differ in the month.

    Whether names collide depends on month and weekday alone; one day of each month in 28 years has all pairs.
    """
    make_dates = script("make_dates")
    from babel import Locale

    meaning: dict[str, date] = {}
    for name in make_dates.LOCALES:
        locale = Locale.parse(name)
        for pattern in make_dates.patterns(locale):
            for year in range(2000, 2028):
                for month in range(1, 13):
                    day = date(year, month, 15)
                    key = make_dates.comparable(pattern.apply(day, locale))
                    assert meaning.setdefault(key, day) == day, (name, key)


def test_every_month_is_well_covered() -> None:
    months = Counter(iso[5:7] for _, iso in read("dates", "train"))
    assert len(months) == 12
    assert min(months.values()) > 0.9 * max(months.values())
    spread = Counter(iso[:3] for _, iso in read("dates", "train"))
    assert len(spread) == 20


def test_languages() -> None:
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for split in SPLITS:
        for _, label in read("languages", split):
            labels[label][split] += 1
    make_languages = script("make_languages")
    assert set(labels) == set(make_languages.LANGUAGES)
    assert len(labels) >= 40
    for counts in labels.values():
        assert 500 <= counts.total() <= make_languages.CAP
        assert min(counts[split] for split in SPLITS) >= 40


def test_names_are_words() -> None:
    for split in SPLITS:
        assert all(any(map(str.isalpha, text)) for text, _ in read("languages", split))


@pytest.mark.parametrize("name", SETS)
def test_script_makes_the_committed_files(name: str, tmp_path: Path) -> None:
    script(f"make_{name}")
    noted = importlib.import_module("splitting").BABEL_VERSION
    installed = importlib.metadata.version("babel")
    if installed != noted:
        pytest.skip(f"made with Babel {noted}; {installed} is installed, whose names may differ")
    command = [sys.executable, str(DATA / f"make_{name}.py"), "--output", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for split in SPLITS:
        assert (tmp_path / f"{split}.tsv").read_bytes() == (DATA / name / f"{split}.tsv").read_bytes()
