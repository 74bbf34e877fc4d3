"""The command `ewa info`."""

from __future__ import annotations

from ewa_rs.cli import options as opt
from ewa_rs.cli.console import one_line_errors, print_json


def command(json: opt.Json = False) -> None:
    """Print versions, CPU features and the kernels chosen, threads, CUDA devices, networks.

    Example: `ewa info --json`
    """
    with one_line_errors():
        from ewa_rs.cli.display.info import collect_info, print_info

        details = collect_info()
        if json:
            print_json(details)
        else:
            print_info(details)
