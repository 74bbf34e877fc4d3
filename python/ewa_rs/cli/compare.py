"""The command `ewa compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ewa_rs.cli import options as opt
from ewa_rs.cli.console import one_line_errors, print_json, progress_console

if TYPE_CHECKING:
    from ewa_rs.training.compare import Comparison

_Models = Annotated[
    list[str],
    typer.Option("--models", "-m", help="NAME or NAME:SEEDS, separated by commas; repeatable."),
]
_Seeds = Annotated[int, typer.Option(min=1, help="Runs of a network without SEEDS.")]
_Option = Annotated[
    list[str] | None, typer.Option(help="Option of one network, MODEL.NAME=VALUE; repeatable.")
]
_Baseline = Annotated[
    str | None,
    typer.Option(
        help="What the others are measured against.", show_default="vgg_like, else the first"
    ),
]
_Output = Annotated[Path, typer.Option("--output", "-o", help="Folder.")]
_NOT_OF_THE_RECIPE = ("models", "seeds", "option", "baseline", "output", "json")


def command(
    models: _Models,
    seeds: _Seeds = 1,
    data: opt.Data = None,
    option: _Option = None,
    baseline: _Baseline = None,
    output: _Output = Path("runs/compare"),
    data_dir: opt.DataDir = None,
    image_size: opt.ImageSize = None,
    channels: opt.Channels = None,
    epochs: opt.Epochs = None,
    batch_size: opt.BatchSize = None,
    lr: opt.LearningRate = None,
    weight_decay: opt.WeightDecay = None,
    label_smoothing: opt.LabelSmoothing = None,
    optimizer: opt.Optimizer = None,
    augment: opt.Augment = None,
    val_fraction: opt.ValFraction = None,
    precision: opt.Precision = None,
    device: opt.Device = "auto",
    channels_last: opt.ChannelsLast = None,
    compile: opt.Compile = None,
    backend: opt.Backend = None,
    json: opt.Json = False,
) -> None:
    """Train several networks with the same recipe; a table, plots, pictures of the attention.

    Runs that are in the folder already are not run again.

    Example: `ewa compare --data digits --models vgg_like:1,ewa,linear --seeds 3`
    """
    recipe = opt.given(locals(), leave_out=_NOT_OF_THE_RECIPE)
    chosen, options = parse_models(models, seeds), parse_model_options(option)
    with one_line_errors("stopped; the same command goes on from here"):
        from ewa_rs.training.compare import Comparison
        from ewa_rs.training.config import TrainConfig

        comparison = Comparison(chosen, output, TrainConfig(**recipe), options, baseline)
        results = compare_with_display(comparison, json=json)
        if json:
            print_json(results)


def compare_with_display(comparison: Comparison, *, json: bool) -> dict[str, Any]:
    """Compare with a display; return what results.json holds."""
    from ewa_rs.cli.display.comparison import print_report
    from ewa_rs.cli.display.progress import ComparisonDisplay
    from ewa_rs.training.compare import compare

    with ComparisonDisplay(progress_console(json=json)) as display:
        results = compare(comparison, on_event=display)
    if not json:
        print_report(comparison.output, results)
    return results


def parse_models(words: Sequence[str], seeds: int) -> dict[str, int]:
    """Turn ``NAME`` and ``NAME:SEEDS`` words into the number of seeds of each network."""
    models: dict[str, int] = {}
    for word in ",".join(words).split(","):
        name, colon, count = word.strip().partition(":")
        if not name or (colon and not count.isdecimal()):
            raise typer.BadParameter(
                f"expected NAME or NAME:SEEDS, got {word!r}", param_hint="--models"
            )
        models[name] = int(count) if colon else seeds
    return models


def parse_model_options(words: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Turn ``MODEL.NAME=VALUE`` words into the options of each network."""
    options: dict[str, dict[str, Any]] = {}
    for word, value in opt.parse_options(words).items():
        model, dot, name = word.partition(".")
        if not (model and dot and name):
            raise typer.BadParameter(
                f"expected MODEL.NAME=VALUE, got {word!r}", param_hint="--option"
            )
        options.setdefault(model, {})[name] = value
    return options
