import warnings

import matplotlib.image
import pytest

from components.evaluate.plots import (
    _drawable,
    confusion_matrix,
    length_against_quality,
    training_curves,
)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def size(path):
    height, width, _ = matplotlib.image.imread(path).shape
    return height, width


@pytest.mark.parametrize("epochs", [1, 2, 12])
@pytest.mark.parametrize("best", [0, 1])
def test_training_curves(tmp_path, epochs, best):
    history = [
        {"epoch": n, "loss": 1 / n, "val_loss": 2 / n, "accuracy": 0.5, "seconds": 3.0}
        for n in range(1, epochs + 1)
    ]
    training_curves(history, tmp_path / "curves.png", best_epoch=best)
    height, width = size(tmp_path / "curves.png")
    assert width > 2 * height  # loss and accuracy side by side; seconds are no metric


def test_training_curves_without_validation(tmp_path):
    training_curves([{"epoch": 1, "loss": 3.0}], tmp_path / "curves.png")
    height, width = size(tmp_path / "curves.png")
    assert width < 2 * height


@pytest.mark.parametrize("classes", [1, 2, 20, 45, 250])
def test_confusion_matrix_of_any_number_of_classes(tmp_path, classes):
    counts = [[3 * (i == j) for j in range(classes)] for i in range(classes)]
    confusion_matrix([f"class {i}" for i in range(classes)], counts, tmp_path / "confusion.png")
    assert max(size(tmp_path / "confusion.png")) < 3500


def test_labels_in_any_script(tmp_path):
    labels = ["中文", "العربية", "हिन्दी", "🎉", "$x^{$", "tab\tand\nline", "", "x" * 500, "日" * 500]
    counts = [[1] * len(labels)] * len(labels)
    confusion_matrix(labels, counts, tmp_path / "confusion.png")
    assert max(size(tmp_path / "confusion.png")) < 1500


def test_a_class_that_is_only_predicted(tmp_path):
    confusion_matrix(["a", "b"], [[0, 0], [3, 0]], tmp_path / "confusion.png")
    assert size(tmp_path / "confusion.png")


@pytest.mark.parametrize("buckets", [1, 8])
def test_length_against_quality(tmp_path, buckets):
    rows = [{"from": 3 * i, "to": 3 * i + i, "examples": 7, "exact_match": 0.5} for i in range(buckets)]
    length_against_quality(rows, tmp_path / "lengths.png")
    assert size(tmp_path / "lengths.png")


@pytest.mark.parametrize(
    ("label", "drawn"),
    [
        ("żółć", "żółć"),
        ("a\tb", "a<9>b"),
        ("日", "<65E5>"),
        ("x" * 30, "x" * 24 + "…"),
    ],
)
def test_what_the_font_lacks_is_drawn_as_code_points(label, drawn):
    assert _drawable(label) == drawn
