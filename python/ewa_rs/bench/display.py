"""The results of a benchmark on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from ewa_rs.bench.report import (
    SHORT,
    TITLES,
    label_of,
    lines_of,
    number,
    peers_of,
    thread_text,
    threads_of,
)
from ewa_rs.cli_options import output


def print_results(folder: Path, results: dict[str, Any]) -> None:
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
                cells = [number((ratios.get(p) or {}).get("median")) for p in (*peers, "limit")]
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
