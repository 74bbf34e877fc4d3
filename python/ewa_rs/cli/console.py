"""Where commands write, and what becomes of errors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

#: Number of this process among those that torchrun started; the others leave the talking to 0.
RANK = int(os.environ.get("RANK", "0"))
errors = Console(stderr=True, soft_wrap=True, highlight=False)
output = Console(soft_wrap=True, highlight=False, quiet=RANK > 0)


def progress_console(*, json: bool) -> Console:
    """Return where to show how far a command is: standard output may be for the JSON."""
    return errors if json else output


@contextmanager
def one_line_errors(stopped: str = "stopped") -> Iterator[None]:
    """Turn what goes wrong into one clear line and exit code 1, Ctrl-C into 130 and `stopped`."""
    try:
        yield
    except KeyboardInterrupt:
        if RANK == 0:
            errors.print(stopped, markup=False)
        raise typer.Exit(130) from None
    except ImportError as error:
        hint = "pip install it, or ewa_rs with the extra train, onnx or deploy"
        raise _failure(f"{one_line(error)}; {hint}") from None
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        raise _failure(one_line(error)) from None


def _failure(message: str) -> typer.Exit:
    where = f" in process {RANK}" if RANK else ""
    errors.print(f"error{where}: {message}", markup=False, style="red")
    return typer.Exit(1)


def one_line(error: Exception) -> str:
    """Return an error's message in one line, an OSError's with its file."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    if RANK == 0:
        typer.echo(json.dumps(value, indent=1, ensure_ascii=False))
