"""A benchmark on a terminal: how far it is, and what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ewa_rs.bench.results import (
    SHORT,
    TITLES,
    label_of,
    lines_of,
    peers_of,
    thread_text,
    threads_of,
    three_digits,
)
from ewa_rs.cli.console import output
from ewa_rs.cli.display.live import LiveDisplay


class BenchmarkDisplay(LiveDisplay):
    """Takes the events of `ewa_rs.bench.run.measure` while it is entered as a context."""

    def __init__(self, console: Console) -> None:
        working_on = TextColumn("{task.description}")
        super().__init__(
            console, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), working_on
        )
        self._task = self._bar.add_task("starting", total=None)

    def __call__(self, event: dict[str, Any]) -> None:
        """Show an event."""
        if "total" in event:
            self._bar.update(self._task, total=event["total"])
        if "working_on" in event:
            self._bar.update(self._task, description=event["working_on"])
            if not self._console.is_terminal:
                self._print(event["working_on"])
        self._bar.advance(self._task, event.get("done", event.get("steps", 0)))


def print_benchmark(folder: Path, results: dict[str, Any]) -> None:
    """Print medians, and where the rest is."""
    peers = peers_of(results)
    for threads in threads_of(results):
        for direction, title in TITLES.items():
            lines = lines_of(results, direction, threads)
            heading = f"{title.replace('`', '')}, {thread_text(threads)}: times faster than"
            output.print(heading, style="bold")
            table = Table(box=None, header_style="bold", pad_edge=False)
            table.add_column("", no_wrap=True)
            for name in (*(SHORT.get(p, p) for p in peers), "÷ limit"):
                table.add_column(name, justify="right", no_wrap=True)
            for line in lines:
                ratios = {**line.get("ratios", {}), "limit": line.get("limit")}
                cells = [
                    three_digits((ratios.get(p) or {}).get("median")) for p in (*peers, "limit")
                ]
                if "error" in line:
                    cells = [f"no figure: {line['error']}"]
                table.add_row(label_of(line), *cells)
            output.print(table)
            output.print()
    for what in ("absent", "skipped"):
        for name, reason in results[what].items():
            output.print(f"{what}: {name} ({reason})", markup=False)
    files = "summary.md, table.md, targets.md, ratios.png, results.json"
    output.print(f"{folder}/: {files}", markup=False)
