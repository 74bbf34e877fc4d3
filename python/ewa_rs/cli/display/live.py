"""What all displays of progress share."""

from __future__ import annotations

from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, ProgressColumn

Display = TypeVar("Display", bound="LiveDisplay")


class LiveDisplay:
    """Bars while it is entered as a context, where the console is a terminal; and lines."""

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        self._console = console
        self._bar = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )

    def __enter__(self: Display) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False)
