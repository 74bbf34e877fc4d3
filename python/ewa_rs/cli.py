"""The `ewa` command: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ewa_rs import cli_bench, cli_compare, cli_sweep
from ewa_rs import cli_options as opt

app = typer.Typer(
    name="ewa",
    help="Train, compare and use networks of element-wise attention.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def train(
    model: Annotated[
        str | None, typer.Option("--model", "-m", show_default="ewa", help="Network, see ewa info.")
    ] = None,
    data: opt.Data = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the network, NAME=VALUE; repeatable.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Folder.", show_default="runs/MODEL-DATA-seedN"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run in --output.")
    ] = False,
    data_dir: opt.DataDir = None,
    image_size: opt.ImageSize = None,
    channels: opt.Channels = None,
    seed: Annotated[
        int | None, typer.Option(show_default="0", help="Of all that is random.")
    ] = None,
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
    settings = opt.given(
        model=model, data=data, model_options=opt.parse_options(option) or None,
        output=output, data_dir=data_dir, image_size=image_size, channels=channels, seed=seed,
        epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay,
        label_smoothing=label_smoothing, optimizer=optimizer, augment=augment,
        val_fraction=val_fraction, precision=precision, channels_last=channels_last,
        compile=compile, backend=backend,
    )  # fmt: skip
    settings |= {"device": device, "resume": resume, "tensorboard": tensorboard}
    with opt.one_line_errors():
        from ewa_rs.training.commands import run_training

        result = run_training(settings, quiet=json)
        if json:
            opt.print_json(result)


app.command()(cli_compare.compare)
app.command()(cli_sweep.sweep)
app.command()(cli_compare.report)
app.command()(cli_bench.bench)


@app.command()
def evaluate(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A safetensors file of a run.", show_default=False)
    ] = None,
    pretrained: opt.Pretrained = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Other data with the same classes.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    data_dir: opt.DataDir = None,
    device: opt.Device = "auto",
    precision: opt.Precision = None,
    backend: opt.Backend = None,
    json: opt.Json = False,
) -> None:
    """Score a checkpoint on the data that it was trained for.

    Example: `ewa evaluate runs/digits/last.safetensors`
    """
    with opt.one_line_errors():
        from ewa_rs.training.commands import print_scores
        from ewa_rs.training.predict import evaluate_checkpoint

        path, rest = opt.weights([] if checkpoint is None else [checkpoint], pretrained)
        if rest:
            raise typer.BadParameter("give a checkpoint or --pretrained, not both")
        scores = evaluate_checkpoint(
            path,
            data=data,
            data_dir=data_dir,
            split=split,
            device=device,
            precision=precision or "auto",
            backend=backend,
        )
        if json:
            opt.print_json(scores)
        else:
            print_scores(scores)


@app.command()
def predict(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="A safetensors file of a run, or ONNX; then image files, of any size and mode.",
        ),
    ],
    pretrained: opt.Pretrained = None,
    top: Annotated[int, typer.Option(min=1, help="Print so many classes an image.")] = 3,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Name the classes of image files.

    Where PyTorch is not installed, ONNX files run on onnxruntime, and `ewa` and `linear` on NumPy.

    Example: `ewa predict runs/digits/last.safetensors seven.png`

    Example: `ewa predict --pretrained fashion-mnist shoe.png`
    """
    with opt.one_line_errors():
        from ewa_rs.inference import load_where

        path, images = opt.weights(files, pretrained)
        if not images:
            raise typer.BadParameter("no IMAGE given")
        predictions = load_where(path, device).predict(images)
        if json:
            opt.print_json(predictions)
            return
        for prediction in predictions:
            likeliest = list(prediction["probabilities"].items())[:top]
            classes = "  ".join(f"{name} {share:.1%}" for name, share in likeliest)
            typer.echo(f"{prediction['image']}: {classes}")


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A safetensors file of a run.")],
    output: Annotated[Path, typer.Argument(help="The file to write, *.onnx.")],
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators, 18 to 23.")] = 18,
) -> None:
    """Write a network as ONNX, for `ewa predict` without PyTorch and for any other runtime.

    Example: `ewa export runs/digits/last.safetensors digits.onnx`
    """
    with opt.one_line_errors():
        from ewa_rs.training.export import export_onnx

        written = export_onnx(checkpoint, output, opset=opset)
        typer.echo(f"written: {written} ({written.stat().st_size:,} bytes)")


@app.command()
def info(json: opt.Json = False) -> None:
    """Print versions, CPU features and the kernels chosen, threads, CUDA devices, networks.

    Example: `ewa info --json`
    """
    with opt.one_line_errors():
        from ewa_rs.training.commands import collect_info, print_info

        details = collect_info()
        if json:
            opt.print_json(details)
        else:
            print_info(details)


def main() -> None:
    """Run the command line."""
    app(prog_name="ewa")
