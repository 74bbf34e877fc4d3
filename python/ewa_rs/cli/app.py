"""The `ewa` command and its commands, a file each."""

from __future__ import annotations

import typer

from ewa_rs.cli import bench, compare, evaluate, export, info, predict, report, sweep, train

app = typer.Typer(
    name="ewa",
    help="Train, compare and use networks of element-wise attention.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (train, compare, sweep, report, bench, evaluate, predict, export, info):
    app.command(_module.__name__.rpartition(".")[2])(_module.command)


def main() -> None:
    """Run the command line."""
    app(prog_name="ewa")
