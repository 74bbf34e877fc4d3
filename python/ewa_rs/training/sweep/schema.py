"""Tables of a TOML file whose keys and kinds of values are known."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ewa_rs.training.config import TrainConfig

#: What a sweep sets by itself for each run.
_NOT_IN_A_FILE = ("model", "model_options", "seed", "output", "resume")
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


class TomlTable:
    """A table, its keys and values checked.

    `where` is the file and the place in it, for messages. `kinds` has each key that is known with
    the type of its value: a class or a type hint; ``object`` takes anything.
    """

    def __init__(self, values: dict[str, Any], where: str, kinds: Mapping[str, Any]) -> None:
        self.values, self.where = values, where
        for name, value in values.items():
            if name not in kinds:
                near = difflib.get_close_matches(name, kinds, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"
                raise self.error(name, f"unknown; {hint}" if kinds else "unknown; there are none")
            if not _fits(value, kinds[name]):
                raise self.error(name, f"expected {_words(kinds[name])}, got {value!r}")

    def table(self, name: str, kinds: Mapping[str, Any]) -> TomlTable:
        """Return a table within this one, empty if it is not there."""
        return TomlTable(self.values.get(name, {}), f"{self.where}: {name}", kinds)

    @contextmanager
    def located_errors(self) -> Iterator[None]:
        """Tell the place as well where something is made of the values and they do not fit."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}") from error

    def error(self, name: str, message: str) -> ValueError:
        """Return an error about a key."""
        return ValueError(f"{self.where}: {name}: {message}")


def setting_types() -> dict[str, Any]:
    """Return the settings of `TrainConfig` that a file may have, and their types."""
    hints = typing.get_type_hints(TrainConfig)
    return {name: hint for name, hint in hints.items() if name not in _NOT_IN_A_FILE}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types that a hint admits; TOML has nothing that would be None."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return tuple(t for t in typing.get_args(hint) if t is not type(None)) if union else (hint,)


def _fits(value: object, hint: Any) -> bool:
    return any(_is(value, kind) for kind in _alternatives(hint))


def _is(value: object, kind: Any) -> bool:
    if typing.get_origin(kind) is typing.Literal:
        return value in typing.get_args(kind)
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, (int, float) if kind is float else kind)


def _words(hint: Any) -> str:
    names = []
    for kind in _alternatives(hint):
        literal = typing.get_origin(kind) is typing.Literal
        names.append("one of " + ", ".join(typing.get_args(kind)) if literal else _WORDS[kind])
    return " or ".join(names)
