"""The command `ewa bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ewa_rs.cli import options as opt
from ewa_rs.cli.console import one_line_errors, print_json, progress_console


def command(
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
    with one_line_errors():
        from ewa_rs.bench.run import Settings, run
        from ewa_rs.cli.display.bench import BenchmarkDisplay, print_benchmark

        settings = Settings(output, ops, shapes, dtypes, peers, tuple(threads or ()), quick=quick)
        try:
            with BenchmarkDisplay(progress_console(json=json)) as display:
                results = run(settings, display)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        if json:
            print_json(results)
        else:
            print_benchmark(output, results)
