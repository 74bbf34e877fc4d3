"""What `ewa compare` shows: its runs as they come, and the table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from ewa_rs.cli_options import errors, output
from ewa_rs.training.compare import Comparison, compare
from ewa_rs.training.progress import ProgressDisplay
from ewa_rs.training.report import PICTURES
from ewa_rs.training.summary import table_rows

_SECONDS_A_LINE = 5.0


class ComparisonDisplay(ProgressDisplay):
    """The display of a run, told which one; epochs that are over in no time get no line."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last_line = time.monotonic()

    def _run(self, event: dict[str, Any]) -> None:
        number = f"[{event['number']:>{len(str(event['total']))}}/{event['total']}]"
        self._prefix = f"{number} {event['model']}, seed {event['seed']}: "
        if event["finished"]:
            self._print("finished before")

    def _epoch(self, event: dict[str, Any]) -> None:
        if time.monotonic() - self._last_line >= _SECONDS_A_LINE:
            super()._epoch(event)

    def _print(self, line: str) -> None:
        super()._print(line)
        self._last_line = time.monotonic()


def run_comparison(comparison: Comparison, *, quiet: bool) -> dict[str, Any]:
    """Compare with a display; return what results.json holds."""
    console = errors if quiet else output  # standard output is for the JSON then
    try:
        with ComparisonDisplay(console) as display:
            results = compare(comparison, on_event=display)
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on from here", markup=False)
        raise typer.Exit(130) from None
    if not quiet:
        print_report(comparison.output, results)
    return results


def print_report(folder: Path, results: dict[str, Any]) -> None:
    """Print the table, and where its files are."""
    header, *rows = table_rows(results)
    table = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for name, *cells in zip(header, *rows, strict=True):
        longest = max(map(len, [*cells, *name.split()]))  # headers may fold, figures may not
        justify: Literal["left", "right"] = "right" if table.columns else "left"
        table.add_column(name, justify=justify, min_width=longest)
    for row in rows:
        table.add_row(*row)
    output.print()
    output.print(table)
    names = [path.name for pattern in PICTURES for path in sorted(folder.glob(pattern))]
    output.print(f"\n{folder}/: table.md, results.json, {', '.join(names)}", markup=False)
