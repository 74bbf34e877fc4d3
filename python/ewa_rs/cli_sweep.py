"""The command `ewa sweep`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ewa_rs import cli_options as opt


def sweep(
    file: Annotated[Path, typer.Argument(help="TOML: a recipe, networks, a grid.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and which are finished; run none.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, show_default="one a core", help="Runs at a time."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, show_default="cores ÷ jobs", help="Threads of each run."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local: this machine; ray: a Ray cluster, see docs/training.md.")
    ] = "local",
    test: Annotated[
        bool | None,
        typer.Option(
            "--test/--no-test",
            show_default="as in the file, else --test",
            help="Report test accuracy, or leave the test set alone and report validation's.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder.", show_default="as in the file"),
    ] = None,
    data_dir: opt.DataDir = None,
    device: Annotated[
        str | None, typer.Option(show_default="as in the file", help="auto, cpu, cuda or cuda:i.")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Train every network of a file over its seeds, several at a time; a table and plots of them.

    Whatever stops it, the same command goes on; a finished run is never made again, and one that
    fails keeps no other from being made. A file says what `ewa train` has flags for:

        output = "runs/tiny"

        [recipe]
        data = "digits"

        [[networks]]
        model = "linear"
        seeds = 2

        [[networks]]
        name = "ewa, one layer"
        model = "ewa"
        seeds = 2
        options = { layers = 1 }

        [grid]
        lr = [0.005, 0.01]

    Example: `ewa sweep tiny.toml --jobs 2`
    """
    with opt.one_line_errors():
        from ewa_rs.training.sweep import command
        from ewa_rs.training.sweep.file import read_sweep

        place = opt.given(data_dir=data_dir, device=device)
        asked = read_sweep(file, output=output, test=test, **place)
        if dry_run:
            runs = command.list_runs(asked)
            if json:
                opt.print_json(runs)
            else:
                command.print_runs(runs)
            return
        chosen = command.make_engine(engine, jobs, threads)
        results, failed = command.run_and_report(asked, chosen, quiet=json)
        if json:
            opt.print_json(results)
        if failed:
            raise typer.Exit(1)
