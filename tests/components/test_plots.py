import copy
import warnings

import matplotlib.image
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from components.evaluate.fonts import _candidates, drawable
from components.evaluate.plots import (
    attention_map,
    calibration,
    confusion_matrix,
    quality_by_slice,
)
from components.train.curves import training_curves


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


def test_training_curves_show_validations_within_epochs(tmp_path, monkeypatch):
    lines, marks = [], []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda self, x, y, **_: lines.append((x, y)))
    monkeypatch.setattr("matplotlib.axes.Axes.axvline", lambda self, x, label, **_: marks.append((x, label)))
    monkeypatch.setattr("matplotlib.axes.Axes.legend", lambda self, **_: None)
    epochs = [{"epoch": n, "loss": 1 / n, "val_loss": 2 / n} for n in (1, 2)]
    validations = [{"step": step, "epoch": 1, "loss": 0.0, "val_loss": step} for step in (5, 10, 15, 20)]
    training_curves(epochs, tmp_path / "curves.png", 2, 15, validations, steps_per_epoch=10)
    assert lines == [((1, 2), (1, 0.5)), ((0.5, 1.0, 1.5, 2.0), (5, 10, 15, 20))]
    assert marks == [(1.5, "best step (15)")]


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


@pytest.mark.parametrize("count", [1, 3, 51])
def test_quality_by_slice(tmp_path, count):
    report = {"examples": 1234, "metrics": {"accuracy": 0.5}, "intervals": {"accuracy": [0.4, 0.6]}}
    undefined = {"examples": 1, "metrics": {}, "intervals": {}}
    slices = {"العربية $x^{$": undefined, **{f"{n}-{n + 9}": report for n in range(count - 1)}}
    quality_by_slice("$y^{$", slices, "accuracy", tmp_path / "slices.png")
    assert max(size(tmp_path / "slices.png")) < 2500


def test_calibration(tmp_path):
    bins = [
        {"from": 0.4, "to": 0.5, "examples": 1, "accuracy": 0.0, "mean_score": 0.44},
        {"from": 0.9, "to": 1.0, "examples": 9999, "accuracy": 1.0, "mean_score": 0.97},
    ]
    calibration(bins, tmp_path / "calibration.png")
    assert max(size(tmp_path / "calibration.png")) < 800


MIXED = ["Жук", "東京", "مرحبا", "שלום", "हिन्दी", "▁cat", "##s", "$x^{$", " ", "\ue000", "é", "<unk>"]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 12), (12, 3), (61, 130)])
def test_attention_maps_in_any_script(tmp_path, rows, columns):
    source, target = ((MIXED * 11)[:count] for count in (columns, rows))
    weights = [[1 / columns] * columns] * rows
    attention_map(source, target, weights, tmp_path / "attention.png")
    assert max(size(tmp_path / "attention.png")) < 2500


def test_an_attention_map_has_the_source_on_its_x_axis_and_dark_where_the_weight_is(tmp_path):
    attention_map(["a"] * 20, ["b"] * 4, [[1.0] * 10 + [0.0] * 10] * 4, tmp_path / "attention.png")
    height, width = size(tmp_path / "attention.png")
    assert width > 2 * height
    row = matplotlib.image.imread(tmp_path / "attention.png")[height // 3, :, 0]  # red is low in dark blue
    assert np.mean(row[width // 8 : width // 3]) < 0.2
    assert np.mean(row[width // 2 : 2 * width // 3]) > 0.9


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("żółć", "żółć"),
        ("Ж שלום", "Ж שלום"),
        ("a\tb", "a<9>b"),
        ("\ue000", "<E000>"),
        ("x" * 30, "x" * 24 + "…"),
    ],
)
def test_what_no_font_has_is_written_as_code_points(text, written):
    assert drawable([text], 24)[0] == [written]


@pytest.fixture
def han_font(tmp_path, monkeypatch):
    """Installs a font whose only glyphs are a box for 東 and one for a private character."""
    pen = TTGlyphPen(None)
    for place, move in enumerate([(0, 0), (0, 800), (800, 800), (800, 0)]):
        (pen.lineTo if place else pen.moveTo)(move)
    pen.closePath()
    box = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "box"])
    builder.setupCharacterMap({ord("東"): "box", 0xF1234: "box"})
    builder.setupGlyf({".notdef": box, "box": box})
    builder.setupHorizontalMetrics({".notdef": (900, 0), "box": (900, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Box Sans", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "box.ttf")
    manager = copy.copy(fontManager)
    manager.ttflist = list(fontManager.ttflist)
    manager.addfont(tmp_path / "box.ttf")
    monkeypatch.setattr(fontManager, "ttflist", manager.ttflist)
    _candidates.cache_clear()
    yield
    _candidates.cache_clear()


def test_an_installed_font_is_found_by_its_glyphs(han_font, tmp_path):
    written, families = drawable(["a東", "\U000f1234"], 24)
    assert written[0] == "a東"
    assert families[0] == "DejaVu Sans"
    assert len(families) > 1
    attention_map(["a東", "東"], ["b"], [[0.5, 0.5]], tmp_path / "attention.png")
    confusion_matrix(["東", "x"], [[1, 0], [0, 1]], tmp_path / "confusion.png")
