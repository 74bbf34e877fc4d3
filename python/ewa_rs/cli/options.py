"""The command line's options that more than one command has, and what they are turned into."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer


def _recipe(help: str, *names: str, default: str | bool = True, **more: Any) -> Any:
    """Return an option among those of the recipe; the default is shown, the library has it."""
    return typer.Option(*names, rich_help_panel="Recipe", show_default=default, help=help, **more)


def _machine(help: str, *names: str, default: str | bool = True) -> Any:
    """Return an option among those that say where a run happens; the default is shown."""
    panel = "Where and how it runs"
    return typer.Option(*names, rich_help_panel=panel, show_default=default, help=help)


_SETS = "digits, fashion-mnist, cifar10 or imagefolder:PATH."
Data = Annotated[str | None, typer.Option("--data", "-d", help=_SETS, show_default="fashion-mnist")]
DataDir = Annotated[
    str | None,
    typer.Option(help="Folder of the data sets.", show_default="EWA_DATA, else a cache folder"),
]
ImageSize = Annotated[int | None, typer.Option(help="Resize images to a square.", min=1)]
Channels = Annotated[int | None, typer.Option(help="Make images grey (1) or RGB (3).")]
Epochs = Annotated[int | None, _recipe("Epochs.", default="10", min=1)]
BatchSize = Annotated[int | None, _recipe("Images a step.", default="128", min=1)]
LearningRate = Annotated[float | None, _recipe("Peak of OneCycle.", "--lr", default="0.005")]
WeightDecay = Annotated[float | None, _recipe("On matrices and kernels only.", default="0.01")]
LabelSmoothing = Annotated[float | None, _recipe("In [0, 1).", default="0")]
Optimizer = Annotated[str | None, _recipe("adamw or sgd.", default="adamw")]
Augment = Annotated[
    bool | None, _recipe("Flip and shift training images.", "--augment/--no-augment")
]
ValFraction = Annotated[
    float | None, _recipe("Part of the training images held out.", default="0.1")
]
Precision = Annotated[str | None, _machine("auto, fp32, bf16 or fp16.", default="auto")]
Device = Annotated[str, _machine("auto, cpu, cuda or cuda:i.")]
_ORDER = "Memory format of networks with convolutions."
ChannelsLast = Annotated[bool | None, _machine(_ORDER, "--channels-last/--no-channels-last")]
Compile = Annotated[bool | None, _machine("Use torch.compile.", "--compile/--no-compile")]
_BACKENDS, _BACKEND = "rust, torch or triton", "rust on the CPU, triton on CUDA"
Backend = Annotated[str | None, _machine(f"Of element-wise layers: {_BACKENDS}.", default=_BACKEND)]
TensorBoard = Annotated[bool, _machine("Write events as well.", "--tensorboard")]
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
