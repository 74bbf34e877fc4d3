"""Put the trained network of a run into the package, with its model card.

    python tools/pretrained.py results/ewa_net/fashion-mnist/runs/ewa_net_s-seed0

Weights become float16; the accuracy that file and card state is that of these weights, computed in
float32 on the test images: what ``ewa evaluate --pretrained MODEL/DATA --precision fp32`` prints.
"""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from pathlib import Path
from typing import Any

from ewa_rs.inference import CheckpointInfo
from ewa_rs.training.checkpoint import load_checkpoint, save_checkpoint
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.predict import evaluate_checkpoint
from ewa_rs.training.report.summary import hardware_text, versions_text
from ewa_rs.training.run_folder import RunFolder
from ewa_rs.utils.files import read_json, write_text

PACKAGE = Path(__file__).parents[1] / "python/ewa_rs/pretrained"
#: What is to be said of a data set: its name in full, its licence, and what pictures look like it.
DATA = {
    "fashion-mnist": (
        "Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747; MIT licence)",
        "It knows ten kinds of clothes in grey pictures of 28×28 pixels, one article in the "
        "middle, light on black. Photographs of people, dark clothes on a white ground and "
        "anything that is none of the ten kinds get an answer too, and it means nothing.",
    ),
    "cifar10-jpeg": (
        "CIFAR-10 (Krizhevsky 2009), from files in JPEG, a lossy copy",
        "It knows ten kinds of things in colour pictures of 32×32 pixels. Anything else gets an "
        "answer too, and it means nothing; larger photographs lose in the reduction what it needs.",
    ),
}
LIMITS = (
    "Probabilities are the softmax of the outputs and were not calibrated. Accuracy is of one seed "
    "and of pictures from the same source as those it was trained on."
)


def main() -> None:
    """Parse the command line, write the two files and say so."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--data-dir", help="folder of the data sets")
    arguments = parser.parse_args()
    folder = RunFolder(arguments.run)
    config = TrainConfig.from_dict(read_json(folder.config))
    data = config.data.rpartition(":")[2]
    path = PACKAGE / f"{config.model}-{data}.safetensors"

    model, info = load_checkpoint(folder.last)
    info = dataclasses.replace(info, recipe=config.command(), licence="MIT")
    save_checkpoint(path, model.half(), info)
    scores = evaluate_checkpoint(path, data_dir=arguments.data_dir, precision="fp32")
    info = dataclasses.replace(info, accuracy=scores["accuracy"])
    save_checkpoint(path, model, info)
    write_text(path.with_suffix(".md"), card(info, data, read_json(folder.result), scores, path))
    print(f"written: {path.name} ({path.stat().st_size:,} bytes) and its card")


def card(
    info: CheckpointInfo, data: str, result: dict[str, Any], scores: dict[str, Any], path: Path
) -> str:
    """Return the model card."""
    source, limits = DATA[data]
    size, shape = path.stat().st_size, "×".join(map(str, info.input_shape))
    machine = f"{hardware_text(result['hardware'])}, with other work on the machine"
    classes = "".join(
        f"| {name} | {100 * share:.1f} |\n" for name, share in scores["class_accuracy"].items()
    )
    paragraphs = [
        f"{result['parameters']:,} parameters in float16, {size:,} bytes. "
        f"Licence: {info.licence}. Written by `tools/pretrained.py`.",
        f"**Data.** {source}. {1 - info.val_fraction:.0%} of the training images were trained on.",
        f"**Input.** Images of {shape} (channels, height, width), pixels between 0 and 1, less "
        f"{_numbers(info.mean)} and divided by {_numbers(info.std)}. `ewa predict` brings image "
        "files of any size and mode to that.",
        f"**Recipe.** Seed {info.seed}, {result['total_seconds'] / 60:.0f} minutes on "
        f"{machine}; {versions_text(result['versions'])}:",
        f"    {info.recipe}",
        f"**Accuracy.** {100 * scores['accuracy']:.2f} % of {scores['images']:,} test images:",
        f"    ewa evaluate --pretrained {info.model}/{data} --precision fp32",
        f"| class | accuracy (%) |\n| --- | ---: |\n{classes.rstrip()}",
        f"**Limits.** {limits} {LIMITS}",
        f"    ewa predict --pretrained {info.model}/{data} IMAGE...",
    ]
    text = "\n\n".join(p if p[0] in " |" else textwrap.fill(p, 100) for p in paragraphs)
    return f"# {info.model}, trained on {data}\n\n{text}\n"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


if __name__ == "__main__":
    main()
