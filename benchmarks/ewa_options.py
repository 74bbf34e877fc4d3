"""Choose the options of `ewa`, and of the networks it is compared with, by validation accuracy.

python benchmarks/ewa_options.py [--data-dir DIR] writes results/trials-ewa.json and .md.
The test set is not looked at. Runs that are in the JSON file already are not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from ewa_rs.training.config import TrainConfig
from ewa_rs.training.loop import Run
from ewa_rs.training.run_folder import RunFolder
from ewa_rs.utils.files import write_json, write_text

Options = dict[str, Any]
SEEDS = 3
PLAIN: Options = {"layers": 2, "axis": None, "bias": False, "normalise": False, "residual": False}
ONE: Options = PLAIN | {"layers": 1, "bias": True}
VARIANTS: dict[str, tuple[str, Options]] = {
    "linear": ("linear", {"normalise": False}),
    "linear, normalised": ("linear", {"normalise": True}),
    "dot product": ("dot_product", {"normalise": False, "bias": False}),
    "dot product, normalised": ("dot_product", {"normalise": True, "bias": False}),
    "two layers": ("ewa", PLAIN),
    "two layers, residual": ("ewa", PLAIN | {"residual": True}),
    "two layers, normalised": ("ewa", PLAIN | {"normalise": True}),
    "two layers, normalised, residual": ("ewa", PLAIN | {"normalise": True, "residual": True}),
    "two layers, normalised, rows": ("ewa", PLAIN | {"normalise": True, "axis": -1}),
    "two layers, normalised, columns": ("ewa", PLAIN | {"normalise": True, "axis": -2}),
    "one layer, biases": ("ewa", ONE),
    "one layer, biases, residual": ("ewa", ONE | {"residual": True}),
    "one layer, biases, normalised": ("ewa", ONE | {"normalise": True}),
    "one layer, biases, normalised, residual": ("ewa", ONE | {"normalise": True, "residual": True}),
    "one layer, biases, normalised, rows": ("ewa", ONE | {"normalise": True, "axis": -1}),
}


def trial(model: str, options: Options, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one variant and return what its validation says."""
    config = TrainConfig(
        model=model,
        model_options=options,
        data=arguments.data,
        data_dir=arguments.data_dir,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, RunFolder(Path(folder)), lambda event: None)
        last = run.fit()[-1]
    parameters = sum(p.numel() for p in run.model.parameters())
    about = {"model": model, "options": options, "seed": seed, "parameters": parameters}
    return about | {name: last[name] for name in ("train_accuracy", "val_accuracy", "val_loss")}


def table(trials: dict[str, list[dict[str, Any]]], data: str) -> str:
    """Return the trials as Markdown, best first."""
    rows = {
        name: [statistics.mean(t[key] for t in runs) for key in ("train_accuracy", "val_accuracy")]
        for name, runs in trials.items()
    }
    lines = [
        f"# Options by validation accuracy on {data}",
        "",
        "Mean over seeds, 10 epochs, the recipe of the comparison, gain n for `ewa`; the test set",
        "is not used. Made by `benchmarks/ewa_options.py`.",
        "",
        "| variant | parameters | seeds | train % | validation % |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, (train, val) in sorted(rows.items(), key=lambda row: -row[1][1]):
        runs = trials[name]
        lines.append(
            f"| {name} | {runs[0]['parameters']:,} | {len(runs)} "
            f"| {100 * train:.2f} | {100 * val:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the runs that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--data-dir")
    parser.add_argument("--output", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    path = arguments.output / "trials-ewa.json"
    trials: dict[str, list[dict[str, Any]]] = json.loads(path.read_text()) if path.exists() else {}
    for seed in range(SEEDS):
        for name, (model, options) in VARIANTS.items():
            runs = trials.setdefault(name, [])
            if len(runs) == seed:
                runs.append(trial(model, options, seed, arguments))
                print(f"{name}, seed {seed}: {runs[-1]['val_accuracy']:.4f}", flush=True)
                write_json(path, trials)
                write_text(path.with_suffix(".md"), table(trials, arguments.data))


if __name__ == "__main__":
    main()
