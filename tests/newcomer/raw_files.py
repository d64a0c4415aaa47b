"""Three files as people have them: from a spreadsheet, from a crawler, and from translators."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

_GOOD = ("hervorragend", "schön", "günstig", "zuverlässig", "köstlich", "freundlich")
_BAD = ("fürchterlich", "hässlich", "überteuert", "kaputt", "ungenießbar", "unhöflich")
_THINGS = ("Das Essen", "Der Service", "Die Lieferung", "Das Gerät", "Das Zimmer", "Die Größe")
_ENDS = ("; gern wieder.", ' – "wie im Bild".', ".\nMehr ist nicht zu sagen.", " für 12,50 €.", "!")

_TOPICS = {
    "体育": ("球队", "比赛", "冠军", "进球", "教练", "联赛"),
    "财经": ("股市", "银行", "基金", "利率", "投资", "汇率"),
    "科技": ("手机", "芯片", "软件", "网络", "机器人", "卫星"),
}
_NEWS = ("今天传来{}的新消息", "{}引起广泛关注", "专家谈{}的未来", "记者探访{}现场", "{}再创新高")

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def reviews(folder: Path, rows: int = 900) -> list[str]:
    """A semicolon-separated table in Windows-1252, with quotes, line breaks and semicolons in its cells."""
    draw = random.Random(1)
    path = folder / "Bewertungen.csv"
    with path.open("w", encoding="cp1252", newline="") as file:
        table = csv.writer(file, delimiter=";", lineterminator="\r\n")
        table.writerow(["Nr", "Kommentar", "Urteil", "Filiale"])
        for number in range(rows):
            verdict, words = draw.choice([("gut", _GOOD), ("schlecht", _BAD)])
            more = f" und {draw.choice(words)}" if draw.random() < 0.7 else ""
            text = (
                f"{draw.choice(_THINGS)} war {draw.choice(words)}{more}, Nummer {number}{draw.choice(_ENDS)}"
            )
            table.writerow([number, text, verdict, draw.choice(["Köln", "Zürich"])])
    return [path.name]


def headlines(folder: Path, rows: int = 900) -> list[str]:
    """Chinese headlines with their section, a JSON object a line."""
    draw = random.Random(2)
    path = folder / "新闻.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            section = draw.choice(list(_TOPICS))
            words = draw.sample(_TOPICS[section], 2)
            title = f"{draw.choice(_NEWS).format('与'.join(words))}（{number}）"
            file.write(
                json.dumps({"编号": number, "标题": title, "类别": section}, ensure_ascii=False) + "\n"
            )
    return [path.name]


def numbers(folder: Path, rows: int = 3000) -> list[str]:
    """Numbers in words and in digits, in two files whose lines belong together."""
    draw = random.Random(3)
    values = draw.sample(range(10_000), rows)
    words = [" ".join(_DIGITS[int(digit)] for digit in str(value)) for value in values]
    (folder / "numbers.words").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "numbers.digits").write_text("\n".join(map(str, values)) + "\n", encoding="utf-8")
    return ["numbers.words", "numbers.digits"]
