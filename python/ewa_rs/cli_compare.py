"""The commands `ewa compare` and `ewa report`: parse, call, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ewa_rs import cli_options as opt


def compare(
    models: Annotated[
        list[str],
        typer.Option("--models", "-m", help="NAME or NAME:SEEDS, separated by commas; repeatable."),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Runs of a network without SEEDS.")] = 1,
    data: opt.Data = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option of one network, MODEL.NAME=VALUE; repeatable."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="What the others are measured against.", show_default="vgg_like, else the first"
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = Path("runs/compare"),
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
    settings = opt.given(
        data=data, data_dir=data_dir, image_size=image_size, channels=channels, epochs=epochs,
        batch_size=batch_size, lr=lr, weight_decay=weight_decay, label_smoothing=label_smoothing,
        optimizer=optimizer, augment=augment, val_fraction=val_fraction, precision=precision,
        channels_last=channels_last, compile=compile, backend=backend, device=device,
    )  # fmt: skip
    chosen, options = parse_models(models, seeds), parse_model_options(option)
    with opt.one_line_errors():
        from ewa_rs.training.compare import Comparison
        from ewa_rs.training.compare_command import run_comparison
        from ewa_rs.training.config import TrainConfig

        recipe = TrainConfig(**settings)
        comparison = Comparison(chosen, output, recipe, options, baseline)
        results = run_comparison(comparison, quiet=json)
        if json:
            opt.print_json(results)


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a comparison, with results.json.")],
    json: opt.Json = False,
) -> None:
    """Make table and plots of a comparison anew from its results.json.

    Example: `ewa report results/fashion-mnist`
    """
    with opt.one_line_errors():
        from ewa_rs.training.compare_command import print_report
        from ewa_rs.training.report import read_results, write_report

        results = read_results(folder)
        write_report(folder, results)
        if json:
            opt.print_json(results)
        else:
            print_report(folder, results)


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
