"""Writes the beginning of the dates as aligned text files, a line a text, for examples/aligned_files.yaml."""

from __future__ import annotations

import argparse
from pathlib import Path

ROWS = {"train": 4000, "validation": 300, "test": 300}


def main() -> None:
    """Writes two files for every split."""
    parser = argparse.ArgumentParser(description="Dates in ISO 8601 and as people write them, a file each.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "aligned")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for split, count in ROWS.items():
        table = (Path(__file__).parent / "dates" / f"{split}.tsv").read_text(encoding="utf-8")
        rows = [line.split("\t") for line in table.splitlines()[1 : count + 1]]
        for name, column in (("written", 0), ("iso", 1)):
            text = "".join(f"{row[column]}\n" for row in rows)
            (arguments.output / f"{split}.{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
