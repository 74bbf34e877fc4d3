"""What the plots of a comparison show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from ewa_rs.training.report import plots
from ewa_rs.training.report.confusion import confusion_picture


def results(parameters: dict[str, int], data: str = "fashion-mnist") -> dict[str, Any]:
    epochs = [{"loss": 1.0, "val_accuracy": None}, {"loss": 0.5, "val_accuracy": None}]
    runs = [
        {
            "model": model,
            "parameters": count,
            "test_accuracy": 0.8,
            "seconds_per_epoch": 1.0,
            "epochs": epochs,
        }
        for model, count in parameters.items()
    ]
    about = {"data": data, "epochs": 2, "baseline": next(iter(parameters))}
    return about | {"models": list(parameters), "runs": runs}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    return figures


@pytest.mark.parametrize(
    "parameters",
    [{"a": 200_000, "b": 550_000}, {"a": 1_034, "b": 305_130}, {"a": 436_202}],
    ids=["within-a-decade", "decades", "alone"],
)
def test_parameters_can_be_read_off(parameters: dict[str, int], drawn: list[Figure]) -> None:
    plots.accuracy_plot(results(parameters, "digits"), Path("unused.png"))
    axis = drawn[0].axes[0].xaxis
    drawn[0].draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    shown = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    assert shown and all(tick.label1.get_text() for tick in shown)


def test_papers_point_is_a_share_of_the_baseline(drawn: list[Figure]) -> None:
    plots.accuracy_plot(results({"vgg_like": 400_000, "ewa": 12_000}), Path("unused.png"))
    *_, (point, *_) = drawn[0].axes[0].containers
    assert point.get_xdata()[0] == pytest.approx(0.03 * 400_000)
    assert point.get_ydata()[0] == pytest.approx(0.92 * 80)


def test_no_two_networks_look_alike(drawn: list[Figure]) -> None:
    many = results({f"network {i}": 1000 + i for i in range(21)}, "digits")
    plots.accuracy_plot(many, Path("unused.png"))
    plots.curves_plot(many, Path("unused.png"))
    points = [container[0] for container in drawn[0].axes[0].containers]
    assert len({(p.get_color(), p.get_marker()) for p in points}) == 21
    assert len({(c.get_color(), c.get_linestyle()) for c in drawn[1].axes[0].lines}) == 21


def test_many_networks_and_no_validation_split(drawn: list[Figure]) -> None:
    models = {f"network{i}": 10**i for i in range(1, 10)}
    plots.accuracy_plot(results(models), Path("unused.png"))
    plots.curves_plot(results(models), Path("unused.png"))
    for figure in drawn:
        labels = [text.get_text().split(":")[0] for text in figure.legends[0].get_texts()]
        assert labels[:9] == list(models)


def test_front_has_what_no_network_beats_in_both(drawn: list[Figure]) -> None:
    about = results({"a": 100, "b": 200, "c": 300, "d": 300}, "digits")
    for run, accuracy in zip(about["runs"], (0.7, 0.6, 0.8, 0.9), strict=True):
        run["test_accuracy"] = accuracy
    plots.accuracy_plot(about, Path("unused.png"))
    (front,) = (line for line in drawn[0].axes[0].lines if line.get_linewidth() == 1)
    assert list(front.get_xdata()) == [100, 300]
    assert list(front.get_ydata()) == pytest.approx([70, 90])


def test_published_figures_stand_beside_their_data_set(drawn: list[Figure]) -> None:
    for data, name in (("fashion-mnist", "2 conv"), ("imagefolder:cifar10-jpeg", "ResNet-20")):
        plots.accuracy_plot(results({"vgg_like": 400_000}, data), Path("unused.png"))
        _, labels = drawn[-1].axes[0].get_legend_handles_labels()
        assert any(name in label for label in labels)


def test_confusion_has_a_panel_a_network(tmp_path: Path) -> None:
    matrices = {f"net{i}": [[9, 1], [i, 10 - i]] for i in range(4)}
    confusion_picture(matrices, ["cat", "dog"], tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as image:
        assert image.width > 900 and image.height > 700
