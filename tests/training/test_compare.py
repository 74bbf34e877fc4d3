"""A comparison: its runs, its report, and what survives an interruption."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ewa_rs.training.compare import Comparison, compare
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.report import read_results, write_report
from ewa_rs.training.report.summary import (
    baseline_of,
    markdown,
    paper_figure,
    summarise,
    table_rows,
)

RECIPE = TrainConfig(data="digits", epochs=2, precision="fp32")
EWA = {"layers": 1, "bias": False, "hidden": 0}


class Events:
    """Records a comparison's events, and stops it at one of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.starts = self.epochs = 0
        self.stop_at = stop_at

    def __call__(self, event: dict[str, Any]) -> None:
        self.starts += event["event"] == "start"
        self.epochs += event["event"] == "epoch"
        if event["event"] == "epoch" and self.epochs == self.stop_at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished comparison."""
    output = tmp_path_factory.mktemp("comparison")
    compare(
        Comparison(
            {"linear": 1, "ewa": 2}, output, RECIPE, {"ewa": {"layers": 1, "bias": False}}, "linear"
        )
    )
    return output


def results_of(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / "results.json").read_text("utf-8"))
    return results


def test_results_hold_every_run(folder: Path) -> None:
    runs = results_of(folder)["runs"]
    assert [(run["model"], run["seed"]) for run in runs] == [("linear", 0), ("ewa", 0), ("ewa", 1)]
    for run in runs:
        assert len(run["epochs"]) == 2
        assert 0 < run["test_accuracy"] <= 1
        assert run["seconds_per_epoch"] > 0
        assert run["hardware"]["cores"] >= 1
        assert run["versions"]["torch"]
        assert run["command"].startswith("ewa train ")
    # 8×8 pixels to ten classes, and three arrays of 64 more in the one layer of ewa.
    assert [run["parameters"] for run in runs] == [650, 650 + 3 * 64, 650 + 3 * 64]


def test_results_name_no_folder_of_this_machine(folder: Path) -> None:
    for file in (*folder.glob("*.json"), *folder.glob("*.md")):
        assert str(folder.parent) not in file.read_text("utf-8")


def test_table_agrees_with_the_runs(folder: Path) -> None:
    results = results_of(folder)
    header, linear, ewa = table_rows(results)
    accuracies = [run["test_accuracy"] for run in results["runs"]]
    mean, deviation = statistics.fmean(accuracies[1:]), statistics.stdev(accuracies[1:])
    assert (header[0], header[-1]) == ("network", "s / epoch")
    assert linear[:6] == ("linear", "650", "100.0", "1", f"{100 * accuracies[0]:.2f}", "1.000")
    assert ewa[1:4] == ("842", "129.5", "2")
    assert ewa[4] == f"{100 * mean:.2f} ± {100 * deviation:.2f}"
    assert ewa[5] == f"{mean / accuracies[0]:.3f}"
    assert all(cell in (folder / "table.md").read_text("utf-8") for cell in ewa)


def test_pictures_are_small_enough_to_keep(folder: Path) -> None:
    pictures = sorted(folder.glob("*.png"))
    assert [p.name for p in pictures] == ["accuracy.png", "attention-ewa.png", "curves.png"]
    for picture in pictures:
        assert picture.stat().st_size < 60_000
        with Image.open(picture) as image:
            colours = image.convert("RGB").getcolors(1 << 20)
        assert colours is not None and len(colours) > 8  # something is drawn


def test_finished_runs_are_not_run_again(folder: Path) -> None:
    before = (folder / "results.json").read_bytes()
    events = Events()
    comparison = Comparison(
        {"linear": 1, "ewa": 2}, folder, RECIPE, {"ewa": {"layers": 1, "bias": False}}, "linear"
    )
    compare(comparison, on_event=events)
    assert events.starts == 0
    assert (folder / "results.json").read_bytes() == before


def test_another_recipe_in_the_same_folder_is_refused(folder: Path) -> None:
    other = TrainConfig(data="digits", epochs=3, precision="fp32")
    with pytest.raises(ValueError, match=r"linear-seed0.*epochs: 2 there, 3 asked"):
        compare(Comparison({"linear": 1}, folder, other))


def test_interrupted_comparison_continues(tmp_path: Path) -> None:
    comparison = Comparison({"linear": 2}, tmp_path, RECIPE)
    with pytest.raises(KeyboardInterrupt):
        compare(comparison, on_event=Events(stop_at=3))  # the first epoch of the second run
    assert [run["seed"] for run in results_of(tmp_path)["runs"]] == [0]
    events = Events()
    compare(comparison, on_event=events)
    assert (events.starts, events.epochs) == (1, 1)
    resumed = results_of(tmp_path)
    whole = compare(Comparison({"linear": 2}, tmp_path / "whole", RECIPE))
    for ours, theirs in zip(resumed["runs"], whole["runs"], strict=True):
        assert [e["loss"] for e in ours["epochs"]] == [e["loss"] for e in theirs["epochs"]]
        assert ours["test_accuracy"] == theirs["test_accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": {}}, "models: expected at least one"),
        ({"models": {"resnet": 1}}, "resnet"),
        ({"models": {"ewa": 0}}, "seeds: expected at least 1 for ewa, got 0"),
        ({"models": {"ewa": 1}, "baseline": "linear"}, "'linear' is not compared"),
        ({"models": {"ewa": 1}, "options": {"linear": {"hidden": 1}}}, "'linear' is not compared"),
    ],
    ids=["none", "unknown", "seeds", "baseline", "options"],
)
def test_wrong_comparison(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        Comparison(output=tmp_path, recipe=RECIPE, **arguments)


def test_runs_go_by_seed_with_their_own_options(tmp_path: Path) -> None:
    comparison = Comparison({"ewa": 2, "vgg_like": 1}, tmp_path, RECIPE, {"ewa": {"bias": True}})
    runs = comparison.runs()
    assert [(c.model, c.seed) for c in runs] == [("ewa", 0), ("vgg_like", 0), ("ewa", 1)]
    assert [c.model_options for c in runs] == [{"bias": True}, {}, {"bias": True}]
    assert {c.epochs for c in runs} == {RECIPE.epochs}
    assert comparison.baseline_name == "vgg_like"


def test_before_the_baseline_has_run_its_shares_are_empty(folder: Path) -> None:
    results = results_of(folder) | {"baseline": "vgg_like"}
    assert baseline_of(results) is None
    _, linear, _ = table_rows(results)
    assert linear[2] == linear[5] == ""


def test_a_baseline_that_has_nothing_right_has_no_shares(folder: Path) -> None:
    results = results_of(folder)
    runs = [run | {"test_accuracy": 0.0} for run in results["runs"]]
    assert [row[5] for row in table_rows(results | {"runs": runs})[1:]] == ["", ""]


def test_results_of_which_a_run_is_missing_figures(folder: Path, tmp_path: Path) -> None:
    results = results_of(folder)
    del results["runs"][1]["parameters"]
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match=r"results.json: run 1: parameters missing"):
        read_results(tmp_path)


def test_the_papers_figures_stand_beside_ewa_alone(folder: Path) -> None:
    assert paper_figure("fashion-mnist") == (0.03, 0.92)
    assert paper_figure("imagefolder:cifar10-jpeg") == (0.50, 0.60)
    assert paper_figure("digits") is None
    _, linear, ewa = table_rows(results_of(folder) | {"data": "fashion-mnist"})
    assert (linear[-1], ewa[-1]) == ("", "0.92 at 3 %")


def test_report_needs_the_results_alone(folder: Path, tmp_path: Path) -> None:
    results = results_of(folder) | {"data": "fashion-mnist"}
    write_report(tmp_path, results)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "accuracy.png",
        "curves.png",
        "results.json",
        "table.md",
    ]
    assert (tmp_path / "table.md").read_text("utf-8") == markdown(results)
    assert [s.model for s in summarise(results)] == ["linear", "ewa"]
