"""The command `ewa predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ewa_rs.cli import options as opt
from ewa_rs.cli.console import one_line_errors, print_json


def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="A safetensors file of a run, or ONNX; then image files, of any size and mode.",
        ),
    ],
    pretrained: opt.Pretrained = None,
    top: Annotated[int, typer.Option(min=1, help="Print so many classes an image.")] = 3,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Name the classes of image files.

    Where PyTorch is not installed, ONNX files run on onnxruntime, and `ewa` and `linear` on NumPy.

    Example: `ewa predict runs/digits/last.safetensors seven.png`

    Example: `ewa predict --pretrained fashion-mnist shoe.png`
    """
    with one_line_errors():
        from ewa_rs.cli.display.scores import print_predictions
        from ewa_rs.inference import load_where

        path, images = opt.weights(files, pretrained)
        if not images:
            raise typer.BadParameter("no IMAGE given")
        predictions = load_where(path, device).predict(images)
        if json:
            print_json(predictions)
        else:
            print_predictions(predictions, top)
