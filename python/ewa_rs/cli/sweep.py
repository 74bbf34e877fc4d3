"""The command `ewa sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ewa_rs.cli import options as opt
from ewa_rs.cli.console import errors, one_line_errors, print_json, progress_console

if TYPE_CHECKING:
    from ewa_rs.training.sweep.engine import Engine
    from ewa_rs.training.sweep.plan import Sweep

_File = Annotated[Path, typer.Argument(help="TOML: a recipe, networks, a grid.")]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List the runs and which are finished; run none.")
]
_Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, show_default="one a core", help="Runs at a time."),
]
_Threads = Annotated[
    int | None, typer.Option(min=1, show_default="cores ÷ jobs", help="Threads of each run.")
]
_Engine = Annotated[
    str, typer.Option(help="local: this machine; ray: a Ray cluster, see docs/training.md.")
]
_Test = Annotated[
    bool | None,
    typer.Option(
        "--test/--no-test",
        show_default="as in the file, else --test",
        help="Report test accuracy, or leave the test set alone and report validation's.",
    ),
]
_Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder.", show_default="as in the file")
]
_Device = Annotated[
    str | None, typer.Option(show_default="as in the file", help="auto, cpu, cuda or cuda:i.")
]


def command(
    file: _File,
    dry_run: _DryRun = False,
    jobs: _Jobs = None,
    threads: _Threads = None,
    engine: _Engine = "local",
    test: _Test = None,
    output: _Output = None,
    data_dir: opt.DataDir = None,
    device: _Device = None,
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
    place = opt.given({"data_dir": data_dir, "device": device})
    with one_line_errors("stopped; the same command goes on from here"):
        from ewa_rs.training.sweep.file import read_sweep

        asked = read_sweep(file, output=output, test=test, **place)
        if dry_run:
            show_runs(asked, json=json)
            return
        failed = sweep_with_display(asked, make_engine(engine, jobs, threads), json=json)
        if failed:
            raise typer.Exit(1)


def make_engine(name: str, jobs: int | None, threads: int | None) -> Engine:
    """Return the engine called ``local`` or ``ray``."""
    from ewa_rs.training.sweep.local import LocalEngine
    from ewa_rs.utils.processor import cores

    if name == "ray":
        from ewa_rs.training.sweep.ray import RayEngine

        return RayEngine(jobs, threads or 1)
    if name != "local":
        raise ValueError(f"engine: expected local or ray, got {name!r}")
    jobs = jobs or max(1, cores() // (threads or 1))
    return LocalEngine(jobs, threads or max(1, cores() // jobs))


def sweep_with_display(sweep: Sweep, engine: Engine, *, json: bool) -> bool:
    """Make the runs and show what came out; return whether any failed."""
    from ewa_rs.cli.display.comparison import print_report
    from ewa_rs.cli.display.sweep import SweepDisplay
    from ewa_rs.training.sweep.runner import run_sweep

    with SweepDisplay(progress_console(json=json)) as display:
        results, failures = run_sweep(sweep, engine, display)
    if json:
        print_json(results)
    elif results["runs"]:
        print_report(sweep.output, results)
    for task, message in failures.items():
        log = task.folder.path / "log.txt"
        errors.print(f"error: {task}: {message}; see {log}", markup=False, style="red")
    return bool(failures)


def show_runs(sweep: Sweep, *, json: bool) -> None:
    """Print every run and whether it is finished."""
    from ewa_rs.cli.display.sweep import print_runs

    runs: list[dict[str, Any]] = [
        {
            "network": task.label,
            "seed": task.config.seed,
            "finished": task.finished,
            "folder": str(task.folder.path),
            "command": task.config.command(),
        }
        for task in sweep.tasks()
    ]
    if json:
        print_json(runs)
    else:
        print_runs(runs)
