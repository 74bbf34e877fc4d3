"""Data sets by name, each as uint8 tensors that stay on the training device."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ewa_rs.training.config import portable_data_name
from ewa_rs.training.data.sources import SOURCES, Split, hold_out, image_folder

__all__ = ["DataSet", "Split", "data_directory", "load_data"]


@dataclass(frozen=True)
class DataSet:
    """A data set: its three splits, and the normalisation that its training images give.

    Attributes
    ----------
    name
        Without any folder of this machine.
    train, val, test
        The splits; ``val`` is empty where no part was held out.
    class_names
        Name of each label.
    mean, std
        Of each channel over the training images, for pixels in [0, 1].
    """

    name: str
    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def data_directory(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the data sets: ``data_dir``, else EWA_DATA, else a cache folder."""
    if data_dir or os.environ.get("EWA_DATA"):
        return Path(data_dir or os.environ["EWA_DATA"]).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("ewa_rs")


def load_data(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: int | None = None,
    channels: int | None = None,
    val_fraction: float = 0.1,
    seed: int = 0,
) -> DataSet:
    """Load a data set by name.

    Parameters
    ----------
    name
        ``digits`` (8×8, comes with scikit-learn), ``fashion-mnist``, ``cifar10``, or
        ``imagefolder:PATH``, a folder with ``train/<class>/*`` and ``test/<class>/*``; a relative
        path is taken from the data directory.
    data_dir
        See `data_directory`.
    image_size, channels
        Resize to a square of this size; make grey (1) or RGB (3).
    val_fraction, seed
        The part of the training images held out for validation, and the seed of the draw.

    Raises
    ------
    ValueError
        For an unknown name, or images that cannot be read.
    FileNotFoundError
        If the data are not there and cannot be downloaded; the message says what belongs where.
    """
    directory = data_directory(data_dir)
    kind, _, path = name.partition(":")
    if kind == "imagefolder":
        if not path:
            raise ValueError("data: imagefolder needs a folder, imagefolder:PATH")
        train, test, names = image_folder(directory / Path(path).expanduser(), image_size, channels)
    elif name in SOURCES:
        train, test, names = SOURCES[name](directory)
        train, test = (Split(_fit(s.images, image_size, channels), s.labels) for s in (train, test))
    else:
        raise ValueError(
            f"data: no data set is called {name!r}; "
            f"there are {', '.join(SOURCES)}, imagefolder:PATH"
        )
    kept, val = hold_out(train, val_fraction, seed)
    if not len(kept):
        raise ValueError(
            f"val_fraction: {val_fraction} of {len(train)} images leaves none to train with"
        )
    mean, std = _moments(kept.images)
    return DataSet(portable_data_name(name), kept, val, test, tuple(names), mean, std)


def _fit(images: Tensor, size: int | None, channels: int | None) -> Tensor:
    """Images with another size and number of channels."""
    from torchvision.transforms.v2 import functional as F

    if size is not None and images.shape[-2:] != (size, size):
        images = F.resize(images, [size, size], antialias=True)
    if channels == 1:
        return F.rgb_to_grayscale(images) if images.shape[1] == 3 else images
    return images.expand(-1, 3, -1, -1).contiguous() if channels == 3 else images


def _moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, exact, from its histogram."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        counts = torch.zeros(256, dtype=torch.int64)
        for part in channel.split(4096):  # bincount makes int64 of what it gets
            counts += torch.bincount(part.flatten(), minlength=256)
        weights = counts.double() / counts.sum()
        mean = (weights * values).sum()
        means.append(mean.item())
        stds.append(((weights * (values - mean) ** 2).sum().sqrt()).item() or 1.0)
    return tuple(means), tuple(stds)
