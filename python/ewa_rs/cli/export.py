"""The command `ewa export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ewa_rs.cli.console import one_line_errors


def command(
    checkpoint: Annotated[Path, typer.Argument(help="A safetensors file of a run.")],
    output: Annotated[Path, typer.Argument(help="The file to write, *.onnx.")],
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators, 18 to 23.")] = 18,
) -> None:
    """Write a network as ONNX, for `ewa predict` without PyTorch and for any other runtime.

    Example: `ewa export runs/digits/last.safetensors digits.onnx`
    """
    with one_line_errors():
        from ewa_rs.training.export import export_onnx

        written = export_onnx(checkpoint, output, opset=opset)
        typer.echo(f"written: {written} ({written.stat().st_size:,} bytes)")
