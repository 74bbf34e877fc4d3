"""The command line's options that more than one command has, and what they are turned into."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

_RECIPE, _MACHINE = "Recipe", "Where and how it runs"

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        help="digits, fashion-mnist, cifar10 or imagefolder:PATH.",
        show_default="fashion-mnist",
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(help="Folder of the data sets.", show_default="EWA_DATA, else a cache folder"),
]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to a square.", min=1)]
Channels = Annotated[int | None, typer.Option(help="Make images grey (1) or RGB (3).")]
Epochs = Annotated[
    int | None, typer.Option(min=1, rich_help_panel=_RECIPE, show_default="10", help="Epochs.")
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel=_RECIPE, show_default="128", help="Images a step."),
]
LearningRate = Annotated[
    float | None,
    typer.Option("--lr", rich_help_panel=_RECIPE, show_default="0.005", help="Peak of OneCycle."),
]
WeightDecay = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_RECIPE, show_default="0.01", help="On matrices and kernels only."
    ),
]
LabelSmoothing = Annotated[
    float | None, typer.Option(rich_help_panel=_RECIPE, show_default="0", help="In [0, 1).")
]
Optimizer = Annotated[
    str | None, typer.Option(rich_help_panel=_RECIPE, show_default="adamw", help="adamw or sgd.")
]
Augment = Annotated[
    bool | None,
    typer.Option(
        "--augment/--no-augment", rich_help_panel=_RECIPE, help="Flip and shift training images."
    ),
]
ValFraction = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_RECIPE, show_default="0.1", help="Part of the training images held out."
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(rich_help_panel=_MACHINE, show_default="auto", help="auto, fp32, bf16 or fp16."),
]
Device = Annotated[str, typer.Option(rich_help_panel=_MACHINE, help="auto, cpu, cuda or cuda:i.")]
ChannelsLast = Annotated[
    bool | None,
    typer.Option(
        "--channels-last/--no-channels-last",
        rich_help_panel=_MACHINE,
        help="Memory format of networks with convolutions.",
    ),
]
Compile = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile", rich_help_panel=_MACHINE, help="Use torch.compile."),
]
Backend = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_MACHINE,
        show_default="rust on the CPU, triton on CUDA",
        help="Of element-wise layers: rust, torch or triton.",
    ),
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", rich_help_panel=_MACHINE, help="Write events as well.")
]
Pretrained = Annotated[
    str | None,
    typer.Option(
        metavar="[MODEL/]DATA",
        help="Weights that come with ewa_rs instead of a checkpoint; of a data set the best.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def given(parameters: Mapping[str, Any], *, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """Return the parameters of a command that were given; those left out are no settings."""
    return {k: v for k, v in parameters.items() if v is not None and k not in leave_out}


def parse_options(words: Sequence[str] | None) -> dict[str, Any]:
    """Turn ``NAME=VALUE`` words into a dict; a value is JSON, or else the text itself."""
    options: dict[str, Any] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"expected NAME=VALUE, got {word!r}", param_hint="--option")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


def weights(files: Sequence[Path], pretrained: str | None) -> tuple[Path, Sequence[Path]]:
    """Return the file of weights, and the files that follow: with ``pretrained`` all of them."""
    if pretrained is not None:
        from ewa_rs.pretrained import find_pretrained

        return find_pretrained(pretrained), files
    if not files:
        raise typer.BadParameter("no CHECKPOINT given, nor --pretrained")
    return files[0], files[1:]
