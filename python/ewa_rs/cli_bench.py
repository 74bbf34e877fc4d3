"""The command `ewa bench`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ewa_rs import cli_options as opt


def bench(
    ops: Annotated[str | None, typer.Option(help="Only ops whose name has one of these.")] = None,
    shapes: Annotated[
        str | None, typer.Option(help="Only shapes whose name has one of these, such as rows,maps.")
    ] = None,
    dtypes: Annotated[str | None, typer.Option(help="Only these, such as float32.")] = None,
    peers: Annotated[
        str | None, typer.Option(help="Only these, such as Numba,JAX.", show_default="all")
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Number of threads; repeatable.", show_default="1 and all"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Four cases in a minute or so.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = Path("runs/bench"),
    json: opt.Json = False,
) -> None:
    """Time the ops against NumPy, SciPy, Numba, JAX, PyTorch and ONNX Runtime, as ratios.

    Libraries that are not installed are left out and named; ewa_rs[bench] has them all.

    Example: `ewa bench --shapes "rows,layer" --dtypes float32`
    """
    with opt.one_line_errors():
        from ewa_rs.bench.command import Settings, run
        from ewa_rs.bench.display import print_results

        settings = Settings(output, ops, shapes, dtypes, peers, tuple(threads or ()), quick)
        try:
            results = run(settings, opt.errors if json else opt.output)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        if json:
            opt.print_json(results)
        else:
            print_results(output, results)
