"""Data sets by name, each as uint8 tensors that stay on the training device."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ewa_rs.training.config import portable_data_name
from ewa_rs.training.images import decode_images, list_images

#: Part of `digits` kept for testing, and the seed of that split: the same in every run.
_DIGITS_TEST, _DIGITS_SEED = 0.2, 0


@dataclass(frozen=True)
class Split:
    """Images ``(n, channels, height, width)`` as uint8 and their labels as int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Split:
        """Return the split on a device."""
        return Split(self.images.to(device), self.labels.to(device))


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
        train, test, names = _image_folder(directory / Path(path).expanduser(), image_size, channels)
    elif name in _SOURCES:
        train, test, names = _SOURCES[name](directory)
        train, test = (
            Split(_fit(s.images, image_size, channels), s.labels) for s in (train, test)
        )
    else:
        raise ValueError(
            f"data: no data set is called {name!r}; there are {', '.join(_SOURCES)}, imagefolder:PATH"
        )
    kept, val = _hold_out(train, val_fraction, seed)
    mean, std = _moments(kept.images)
    return DataSet(portable_data_name(name), kept, val, test, tuple(names), mean, std)


def _digits(directory: Path) -> tuple[Split, Split, list[str]]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images).mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
    everything = Split(pixels, torch.from_numpy(labels).to(torch.int64))
    train, test = _hold_out(everything, _DIGITS_TEST, _DIGITS_SEED)
    return train, test, [str(i) for i in range(10)]


def _fashion_mnist(directory: Path) -> tuple[Split, Split, list[str]]:
    from torchvision.datasets import FashionMNIST

    train, test = _torchvision(
        FashionMNIST, directory, "FashionMNIST/raw/ with the four official *-ubyte.gz files"
    )
    splits = (Split(part.data.unsqueeze(1), part.targets.long()) for part in (train, test))
    return *splits, list(FashionMNIST.classes)


def _cifar10(directory: Path) -> tuple[Split, Split, list[str]]:
    from torchvision.datasets import CIFAR10

    train, test = _torchvision(
        CIFAR10, directory, "cifar-10-batches-py/, or the official cifar-10-python.tar.gz"
    )
    splits = (
        Split(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
        for part in (train, test)
    )
    return *splits, list(train.classes)


_SOURCES: dict[str, Callable[[Path], tuple[Split, Split, list[str]]]] = {
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "cifar10": _cifar10,
}


def _torchvision(source: Callable, directory: Path, belongs: str) -> tuple:
    """Both parts of a torchvision data set, downloaded only if it is not there."""
    try:
        return _both(source, directory, download=False)
    except RuntimeError:  # not there, or its checksum differs
        pass
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return _both(source, directory, download=True)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"{source.__name__} is not in {directory} and could not be downloaded "
            f"({' '.join(str(error).split())}). What belongs there: {belongs}"
        ) from error


def _both(source: Callable, directory: Path, *, download: bool) -> tuple:
    return tuple(source(directory, train=train, download=download) for train in (True, False))


def _image_folder(
    folder: Path, size: int | None, channels: int | None
) -> tuple[Split, Split, list[str]]:
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            raise FileNotFoundError(
                f"{folder / part} is no folder; an imagefolder has train/<class>/* and test/<class>/*"
            )
    names = sorted(entry.name for entry in (folder / "train").iterdir() if entry.is_dir())
    other = {entry.name for entry in (folder / "test").iterdir() if entry.is_dir()} - set(names)
    if other:
        raise ValueError(f"{folder / 'test'}: classes {', '.join(sorted(other))} are not in train/")
    train = _read_part(folder / "train", names, size, channels)
    test = _read_part(folder / "test", names, size, train.images.shape[1])
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = " and ".join("×".join(map(str, s.images.shape[2:])) for s in (train, test))
        raise ValueError(f"{folder}: images in train/ and test/ are {sizes}; give --image-size")
    return train, test, names


def _read_part(folder: Path, names: list[str], size: int | None, channels: int | None) -> Split:
    paths, labels = list_images(folder, names)
    if not paths:
        raise ValueError(f"{folder}: no images; expected {folder.name}/<class>/<image files>")
    return Split(decode_images(paths, size, channels), labels)


def _fit(images: Tensor, size: int | None, channels: int | None) -> Tensor:
    """Images with another size and number of channels."""
    from torchvision.transforms.v2 import functional as F

    if size is not None and images.shape[-2:] != (size, size):
        images = F.resize(images, [size, size], antialias=True)
    if channels == 1:
        return F.rgb_to_grayscale(images) if images.shape[1] == 3 else images
    return images.expand(-1, 3, -1, -1).contiguous() if channels == 3 else images


def _hold_out(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Draw a part out of a split: what stays, and the part."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    count = round(len(split) * fraction)
    drawn, kept = order[:count].sort().values, order[count:].sort().values
    return (
        Split(split.images[kept], split.labels[kept]),
        Split(split.images[drawn], split.labels[drawn]),
    )


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
