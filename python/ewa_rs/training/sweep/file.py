"""The file of a sweep: TOML to `Sweep`, with errors that name the file, the key and what it takes.

::

    output = "results/shoes"        # optional; else runs/<name of the file>
    baseline = "vgg_like"           # optional; else vgg_like if it is there, else the first
    test = false                    # optional; true: the test set is used, once a run
    seeds = 3                       # optional; of the networks that do not say, else 1

    [recipe]                        # settings of `TrainConfig`, shared by all runs
    data = "fashion-mnist"
    epochs = 10

    [[networks]]                    # a row of the table each
    model = "vgg_like"
    seeds = 1

    [[networks]]
    name = "ewa without a bias"     # optional; else the model's name
    model = "ewa"
    options = { bias = false }
    lr = 0.01                       # any setting but data: this row's own

    [grid]                          # optional: every combination makes a row of each network
    weight_decay = [0.01, 0.1]
    options.layers = [1, 2]
"""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ewa_rs.models import model_options
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.sweep.plan import Network, Sweep
from ewa_rs.training.sweep.schema import TomlTable, setting_types

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SWEEP = {
    "output": str, "baseline": str, "test": bool, "seeds": int, "recipe": dict, "networks": list,
    "grid": dict,
}  # fmt: skip
_NETWORK = {"model": str, "name": str, "seeds": int, "options": dict, "grid": dict}
_RECIPE = setting_types()
# One table compares networks on the same data.
_OF_A_ROW = {name: kind for name, kind in _RECIPE.items() if name != "data"}


def read_sweep(
    path: Path, *, output: Path | None = None, test: bool | None = None, **place: Any
) -> Sweep:
    """Read the file of a sweep.

    `output` and `test` are taken instead of what the file says, `place` instead of the settings of
    its recipe that say where a run happens.

    Raises
    ------
    ValueError
        If the file is no TOML, or something in it is unknown, missing or of another kind.
    OSError
        If the file cannot be read.
    """
    top = TomlTable(_parse(path), str(path), _SWEEP)
    recipe = top.table("recipe", _RECIPE)
    with recipe.located_errors():
        config = TrainConfig(**recipe.values | place)
    words = ["--output", str(output)] if output and not output.is_absolute() else []
    words += [] if test is None else ["--test" if test else "--no-test"]
    networks = [row for table in _network_tables(top) for row in _rows(table, top, config)]
    file = path.name if path.is_absolute() else path.as_posix()
    with top.located_errors():
        return Sweep(
            networks=networks,
            output=output or Path(top.values.get("output", f"runs/{path.stem}")),
            recipe=config,
            baseline=top.values.get("baseline"),
            test=top.values.get("test", True) if test is None else test,
            command=shlex.join(["ewa", "sweep", file, *words]),
        )


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML ({error})") from error


def _network_tables(top: TomlTable) -> Iterator[TomlTable]:
    tables = top.values.get("networks", [])
    if not tables:
        raise top.error("networks", "expected at least one [[networks]], got none")
    for number, values in enumerate(tables, 1):
        name = f"networks[{number}]"
        if not isinstance(values, dict):
            raise top.error(name, f"expected a table, got {values!r}")
        yield TomlTable(values, f"{top.where}: {name}", _NETWORK | _OF_A_ROW)


def _rows(table: TomlTable, top: TomlTable, recipe: TrainConfig) -> Iterator[Network]:
    """Make the rows of a network: one, or one for each combination of its grid."""
    model = table.values.get("model")
    if model is None:
        raise table.error("model", "missing; the network's name, see ewa info")
    with table.located_errors():
        known = model_options(model)
    options = table.table("options", dict.fromkeys(known, object)).values
    own = {name: value for name, value in table.values.items() if name in _OF_A_ROW}
    takes = _OF_A_ROW | {f"options.{name}": object for name in known}
    grid = {**_grid(top, takes), **_grid(table, takes)}
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        settings = own | {k: v for k, v in chosen.items() if k in _OF_A_ROW}
        more = {k.removeprefix("options."): v for k, v in chosen.items() if k not in _OF_A_ROW}
        settings |= {"model": model, "model_options": {**options, **more}}
        label = ", ".join([table.values.get("name", model), *map(_shown, chosen.items())])
        seeds = table.values.get("seeds", top.values.get("seeds", 1))
        with table.located_errors():
            yield Network(label, replace(recipe, **settings), seeds)


def _grid(table: TomlTable, takes: dict[str, Any]) -> dict[str, list[Any]]:
    """Read a grid: the values of each setting, whose options may be a table of their own."""
    values = dict(table.values.get("grid", {}))
    nested = values.pop("options", {})
    if not isinstance(nested, dict):
        raise ValueError(f"{table.where}: grid: options: expected a table, got {nested!r}")
    values |= {f"options.{name}": choices for name, choices in nested.items()}
    where = f"{table.where}: grid"
    for name, choices in values.items():
        if not isinstance(choices, list) or not choices:
            raise ValueError(f"{where}: {name}: expected a list of values, got {choices!r}")
        for choice in choices:
            TomlTable({name: choice}, where, takes)
    return values


def _shown(setting: tuple[str, Any]) -> str:
    name, value = setting
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{name.removeprefix('options.')}={text}"
