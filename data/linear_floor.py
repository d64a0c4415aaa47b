"""The floor of data/languages: what a linear model on character n-grams reaches on the test split.

    python data/linear_floor.py

Logistic regression (one against the rest, by stochastic gradient descent) on TF-IDF of character 1-4-grams,
trained on the train split; about ten seconds. scikit-learn is in the `test` extra. A recurrent model that
stays below this has learnt less than counts of n-grams tell.
"""

import argparse
import csv
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline


def read(path: Path) -> tuple[list[str], list[str]]:
    """Reads one split.

    Args:
        path: The TSV file.

    Returns:
        The texts, and their labels.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def main() -> None:
    """Trains, and prints the accuracy."""
    parser = argparse.ArgumentParser(description="Accuracy of a linear model on data/languages.")
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "languages")
    data = parser.parse_args().data
    model = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True),
        SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=15, tol=None, random_state=0),
    )
    model.fit(*read(data / "train.tsv"))
    print(f"accuracy {model.score(*read(data / 'test.tsv')):.4f}")


if __name__ == "__main__":
    main()
