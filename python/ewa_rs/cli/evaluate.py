"""The command `ewa evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ewa_rs.cli import options as opt
from ewa_rs.cli.console import one_line_errors, print_json


def command(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A safetensors file of a run.", show_default=False)
    ] = None,
    pretrained: opt.Pretrained = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Other data with the same classes.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    data_dir: opt.DataDir = None,
    device: opt.Device = "auto",
    precision: opt.Precision = None,
    backend: opt.Backend = None,
    json: opt.Json = False,
) -> None:
    """Score a checkpoint on the data that it was trained for.

    Example: `ewa evaluate runs/digits/last.safetensors`
    """
    where = opt.given(locals(), leave_out=("checkpoint", "pretrained", "json"))
    with one_line_errors():
        from ewa_rs.cli.display.scores import print_scores
        from ewa_rs.training.predict import evaluate_checkpoint

        path, rest = opt.weights([] if checkpoint is None else [checkpoint], pretrained)
        if rest:
            raise typer.BadParameter("give a checkpoint or --pretrained, not both")
        scores = evaluate_checkpoint(path, **where)
        if json:
            print_json(scores)
        else:
            print_scores(scores)
