"""Makes data/stories: who goes where and carries what, and a question about where someone or something is.

    python data/make_stories.py

`Mia walks to the cellar | Mia takes the lamp | Mia runs to the attic | where is the lamp ?` -> `attic`, in
the manner of the first two bAbI tasks (Weston et al., 2015, https://arxiv.org/abs/1502.05698). Half of the
questions are about a person, whose last move answers them; half about a thing, which takes two sentences: who
took it last, and where that person went last. Earlier moves and earlier carriers mislead whoever does not
heed the order of the sentences.
"""

import argparse
import random
from pathlib import Path

from splitting import Row, comparable, write_splits

PEOPLE = ("Ida", "Jon", "Mia", "Tom")
PLACES = ("attic", "cellar", "garden", "hallway", "kitchen", "library")
THINGS = ("key", "lamp", "map")
MOVES = ("goes", "runs", "walks")
TAKES = ("grabs", "takes")

SHORTEST, LONGEST = 4, 10
"""Sentences before the question."""

HELD_OUT = 500
TOTAL = 4_000 + 2 * HELD_OUT


def tell(draw: random.Random, length: int) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Tells a story.

    Who takes a thing is somewhere already. A thing can be taken from its carrier.

    Args:
        draw: Decides what happens.
        length: Number of sentences.

    Returns:
        The sentences, where each person is, and who carries each thing, as far as the story says.
    """
    sentences: list[str] = []
    places: dict[str, str] = {}
    carriers: dict[str, str] = {}
    while len(sentences) < length:
        person, thing = draw.choice(PEOPLE), draw.choice(THINGS)
        if person not in places or draw.random() < 0.6:
            places[person] = draw.choice([place for place in PLACES if place != places.get(person)])
            sentences.append(f"{person} {draw.choice(MOVES)} to the {places[person]}")
        elif carriers.get(thing) != person:
            carriers[thing] = person
            sentences.append(f"{person} {draw.choice(TAKES)} the {thing}")
    return sentences, places, carriers


def make_rows(seed: int) -> list[Row]:
    """Draws the stories.

    Args:
        seed: Seed of the drawing.

    Returns:
        `TOTAL` pairs of a story with its question and the answer, about people and things in turns; no story
        twice, in the sense of `comparable`.
    """
    draw = random.Random(seed)
    rows: dict[str, Row] = {}
    while len(rows) < TOTAL:
        sentences, places, carriers = tell(draw, draw.randint(SHORTEST, LONGEST))
        if len(rows) % 2:
            if not carriers:
                continue
            thing = draw.choice(sorted(carriers))
            question, answer = f"where is the {thing} ?", places[carriers[thing]]
        else:
            person = draw.choice(sorted(places))
            question, answer = f"where is {person} ?", places[person]
        text = " | ".join([*sentences, question])
        rows.setdefault(comparable(text), (text, answer))
    return list(rows.values())


def main() -> None:
    """Writes the three files."""
    parser = argparse.ArgumentParser(description="Stories, each with a question and its answer.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "stories")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rows = make_rows(arguments.seed)
    header = ("story", "answer")
    print(write_splits(rows, header, held_out=HELD_OUT, seed=arguments.seed, output=arguments.output))


if __name__ == "__main__":
    main()
