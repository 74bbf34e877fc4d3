"""The table of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from ewa_rs.cli.console import output
from ewa_rs.training.report import PICTURES
from ewa_rs.training.report.summary import table_rows


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
