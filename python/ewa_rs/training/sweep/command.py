"""What `ewa sweep` does beside calling the library: choose an engine, show, report."""

from __future__ import annotations

from typing import Any

import typer

from ewa_rs.cli_options import errors, output
from ewa_rs.processor import cores
from ewa_rs.training.compare_command import print_report
from ewa_rs.training.sweep.display import SweepDisplay
from ewa_rs.training.sweep.engine import Engine
from ewa_rs.training.sweep.local import LocalEngine
from ewa_rs.training.sweep.plan import Sweep
from ewa_rs.training.sweep.runner import run_sweep


def make_engine(name: str, jobs: int | None, threads: int | None) -> Engine:
    """Return the engine called ``local`` or ``ray``."""
    if name == "ray":
        from ewa_rs.training.sweep.ray import RayEngine

        return RayEngine(jobs, threads or 1)
    if name != "local":
        raise ValueError(f"engine: expected local or ray, got {name!r}")
    jobs = jobs or max(1, cores() // (threads or 1))
    return LocalEngine(jobs, threads or max(1, cores() // jobs))


def run_and_report(sweep: Sweep, engine: Engine, *, quiet: bool) -> tuple[dict[str, Any], bool]:
    """Run with a display; return what results.json holds, and whether any run failed."""
    console = errors if quiet else output  # standard output is for the JSON then
    try:
        with SweepDisplay(console) as display:
            results, failures = run_sweep(sweep, engine, display)
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on from here", markup=False)
        raise typer.Exit(130) from None
    if results["runs"] and not quiet:
        print_report(sweep.output, results)
    for task, message in failures.items():
        log = task.folder.path / "log.txt"
        errors.print(f"error: {task}: {message}; see {log}", markup=False, style="red")
    return results, bool(failures)


def list_runs(sweep: Sweep) -> list[dict[str, Any]]:
    """Return every run and whether it is finished."""
    return [
        {
            "network": task.label,
            "seed": task.config.seed,
            "finished": task.finished,
            "folder": str(task.folder.path),
            "command": task.config.command(),
        }
        for task in sweep.tasks()
    ]


def print_runs(runs: list[dict[str, Any]]) -> None:
    """Print what `list_runs` returned."""
    for run in runs:
        state = "finished" if run["finished"] else "to do"
        output.print(f"{state:<8}  {run['network']}, seed {run['seed']}: {run['folder']}",
                     markup=False)  # fmt: skip
    finished = sum(run["finished"] for run in runs)
    output.print(f"{len(runs)} runs, {finished} finished, {len(runs) - finished} to do")
