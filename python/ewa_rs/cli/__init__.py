"""The `ewa` command: parse, call the library, show what came of it."""

from ewa_rs.cli.app import app, main

__all__ = ["app", "main"]
