"""Every setting of a training run, in one place."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Optimizer = Literal["adamw", "sgd"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Backend = Literal["rust", "torch", "triton"]

#: Where a run happens, not what it computes: never written into a run's folder.
_PLACE = ("data_dir", "output", "resume", "device", "tensorboard")


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run; the defaults are the recipe of the comparisons.

    Parameters
    ----------
    model, model_options
        Name and options for `ewa_rs.models.create_model`.
    data
        ``digits``, ``fashion-mnist``, ``cifar10`` or ``imagefolder:PATH``.
    epochs, batch_size, lr, weight_decay, label_smoothing, optimizer
        The usual. ``lr`` is OneCycle's peak; weight decay is on matrices and kernels only.
    precision
        ``auto``: 16 bits where they pay (see `ewa_rs.training.device.resolve_precision`).
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.
    channels_last
        Keep the images of networks with convolutions in that memory format.
    compile
        Run the network through `torch.compile`.
    augment
        Flip and shift the training images.
    seed
        Of the weights, of the order of the images and of the validation split.
    val_fraction
        The part of the training images held out for validation.
    data_dir
        Where data sets lie; None: EWA_DATA, else the cache folder of the platform.
    image_size, channels
        Resize the images to a square of this size, convert to 1 (grey) or 3 channels.
    backend
        Of the element-wise layers: None (choose), ``rust``, ``torch`` or ``triton``.
    output
        Folder of the run.
    resume
        Go on with the unfinished run in ``output``.
    tensorboard
        Write TensorBoard events into the folder as well.
    """

    model: str = "ewa"
    data: str = "fashion-mnist"
    model_options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.005
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    optimizer: Optimizer = "adamw"
    precision: Precision = "auto"
    device: str = "auto"
    channels_last: bool = True
    compile: bool = False
    augment: bool = False
    seed: int = 0
    val_fraction: float = 0.1
    data_dir: str | None = None
    image_size: int | None = None
    channels: int | None = None
    backend: Backend | None = None
    output: str | None = None
    resume: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.lr > 0, "lr", self.lr, "more than 0")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        for name in ("label_smoothing", "val_fraction"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        for name, choices in (
            ("optimizer", get_args(Optimizer)),
            ("precision", get_args(Precision)),
            ("backend", (None, *get_args(Backend))),
            ("channels", (None, 1, 3)),
        ):
            value = getattr(self, name)
            _require(value in choices, name, value, "one of " + ", ".join(map(str, choices)))
        size = self.image_size
        _require(size is None or size >= 1, "image_size", size, "at least 1")

    def to_dict(self) -> dict[str, Any]:
        """Return what the run computes, without anything about this machine, ready for JSON."""
        values = dataclasses.asdict(self)
        for name in _PLACE:
            del values[name]
        values["data"] = portable_data_name(self.data)
        # What JSON would make of it (a tuple becomes a list), so that a stored one compares equal.
        stored: dict[str, Any] = json.loads(json.dumps(values))
        return stored

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Build from what `to_dict` returned, refusing names that are no setting."""
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"config: unknown settings {', '.join(unknown)}")
        return cls(**values)

    def command(self) -> str:
        """Return the command line that makes this run, apart from the folders."""
        words = ["ewa", "train", "--model", self.model, *self.flags()]
        for name, value in self.to_dict()["model_options"].items():
            words += ["--option", f"{name}={json.dumps(value)}"]
        return shlex.join(words)

    def flags(self) -> list[str]:
        """Return ``--data`` and a flag for each setting that is not the default.

        The network, its options, and folders are left out.
        """
        defaults, words = TrainConfig(), ["--data", portable_data_name(self.data)]
        for name, value in self.to_dict().items():
            if name not in ("model", "model_options", "data") and value != getattr(defaults, name):
                flag = name.replace("_", "-")
                if isinstance(value, bool):
                    words.append(f"--{flag}" if value else f"--no-{flag}")
                else:
                    words += [f"--{flag}", str(value)]
        return words


def portable_data_name(data: str) -> str:
    """Return the name of a data set without the folders of this machine.

    Examples
    --------
    >>> portable_data_name("imagefolder:/home/me/pictures/birds")
    'imagefolder:birds'
    """
    kind, _, path = data.partition(":")
    return (
        f"{kind}:{Path(path).resolve().name if Path(path).is_absolute() else path}"
        if path
        else data
    )


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
