"""The command `ewa report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ewa_rs.cli import options as opt
from ewa_rs.cli.console import one_line_errors, print_json


def command(
    folder: Annotated[Path, typer.Argument(help="Folder of a comparison, with results.json.")],
    json: opt.Json = False,
) -> None:
    """Make table and plots of a comparison anew from its results.json.

    Example: `ewa report results/fashion-mnist`
    """
    with one_line_errors():
        from ewa_rs.cli.display.comparison import print_report
        from ewa_rs.training.report import read_results, write_report

        results = read_results(folder)
        write_report(folder, results)
        if json:
            print_json(results)
        else:
            print_report(folder, results)
