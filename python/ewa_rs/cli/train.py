"""The command `ewa train`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ewa_rs.cli import options as opt
from ewa_rs.cli.console import RANK, errors, one_line_errors, print_json, progress_console

if TYPE_CHECKING:
    from ewa_rs.training.config import TrainConfig
    from ewa_rs.training.run_folder import RunFolder

_Model = Annotated[
    str | None, typer.Option("--model", "-m", show_default="ewa", help="Network, see ewa info.")
]
_Option = Annotated[
    list[str] | None, typer.Option(help="Option of the network, NAME=VALUE; repeatable.")
]
_Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="Folder.", show_default="runs/MODEL-DATA-seedN"),
]
_Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the unfinished run in --output.")
]
_Seed = Annotated[int | None, typer.Option(show_default="0", help="Of all that is random.")]


def command(
    model: _Model = None,
    data: opt.Data = None,
    option: _Option = None,
    output: _Output = None,
    resume: _Resume = False,
    data_dir: opt.DataDir = None,
    image_size: opt.ImageSize = None,
    channels: opt.Channels = None,
    seed: _Seed = None,
    epochs: opt.Epochs = None,
    batch_size: opt.BatchSize = None,
    lr: opt.LearningRate = None,
    weight_decay: opt.WeightDecay = None,
    label_smoothing: opt.LabelSmoothing = None,
    optimizer: opt.Optimizer = None,
    augment: opt.Augment = None,
    val_fraction: opt.ValFraction = None,
    precision: opt.Precision = None,
    device: opt.Device = "auto",
    channels_last: opt.ChannelsLast = None,
    compile: opt.Compile = None,
    backend: opt.Backend = None,
    tensorboard: opt.TensorBoard = False,
    json: opt.Json = False,
) -> None:
    """Train one network; the folder gets weights, a line of JSON an epoch and the result.

    Example: `ewa train --model ewa --data digits --output runs/digits`
    """
    settings = opt.given(locals(), leave_out=("option", "json"))
    if option:
        settings["model_options"] = opt.parse_options(option)
    with one_line_errors():
        result = train_with_display(settings, json=json)
        if json:
            print_json(result)


def train_with_display(settings: dict[str, Any], *, json: bool) -> dict[str, Any]:
    """Train with a display; with ``resume``, settings not given are those of the folder's run."""
    from ewa_rs.cli.display.progress import ProgressDisplay
    from ewa_rs.training.config import TrainConfig
    from ewa_rs.training.lock import locked
    from ewa_rs.training.loop import train
    from ewa_rs.training.run_folder import RunFolder, default_output
    from ewa_rs.utils.files import read_json

    if settings["resume"] and "output" in settings:
        stored = RunFolder(Path(settings["output"])).config
        if stored.exists():
            settings = read_json(stored) | settings
    config = TrainConfig.from_dict(settings)
    folder = RunFolder(Path(config.output) if config.output else default_output(config))
    if config.resume and not folder.config.exists():
        raise FileNotFoundError(f"{folder.path}: no run to go on with, config.json is not there")
    finished = folder.result.exists()
    console = progress_console(json=json)
    try:
        # Two trainings in one folder would mix their runs.
        alone = locked(folder.path) if RANK == 0 else nullcontext()
        with alone, ProgressDisplay(console) as display:
            result = train(config, on_event=display)
    except KeyboardInterrupt:
        if RANK == 0:
            errors.print(_how_to_go_on(folder, config), markup=False)
        raise typer.Exit(130) from None
    accuracy = f"test accuracy {result['test_accuracy']:.2%}"
    said = f"already finished, {accuracy}" if finished else "weights and result"
    console.print(f"{said}: {folder.path}", markup=False)
    return result


def _how_to_go_on(folder: RunFolder, config: TrainConfig) -> str:
    from ewa_rs.training.distributed import world_size

    if not folder.state.exists():
        return "stopped before the end of the first epoch: nothing to go on with"
    program = "torchrun … -m ewa_rs" if world_size() > 1 else "ewa"
    again = f"{program} train --output {folder.path} --resume"
    if config.data_dir:
        again += f" --data-dir {config.data_dir}"
    if config.data != config.to_dict()["data"]:
        again += f" --data {config.data}"
    return f"stopped; go on after the last finished epoch with: {again}"
