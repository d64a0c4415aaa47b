"""What people call columns."""

from __future__ import annotations


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


TEXT = _words(
    "text texts sentence review comment message content body tweet post document utterance query question "
    "headline description string phrase word name transcript email sms verbatim feedback "
    "kommentar satz nachricht texte phrase avis commentaire texto frase 文本 内容 评论 句子"
)
LABEL = _words(
    "label labels class category categories sentiment stars rating intent topic tag lang language target y "
    "polarity emotion spam type genre department priority urteil klasse kategorie sprache "
    "étiquette catégorie classe etiqueta categoría categoria idioma 标签 类别 分类"
)
SOURCE = _words("source src input question original from story context prompt raw noisy 原文 输入")
TARGET = _words(
    "target tgt trg output answer translation summary reply response normalized corrected reference iso "
    "pronunciation 译文 输出"
)
USUAL_NAMES = TEXT | LABEL | SOURCE | TARGET | {"id", "index", "date", "title", "user", "author", "split"}
MISSING = _words("nan null none nil n/a na #n/a <na> nat - -- ?")
"""What programs and people write where there is no value."""
