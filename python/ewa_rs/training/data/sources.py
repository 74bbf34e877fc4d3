"""Where images and labels come from, one function a kind of data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ewa_rs.inference.images import decode_images

Parts = tuple["Split", "Split", list[str]]
#: Part of `digits` kept for testing, and the seed of that split: the same in every run.
_DIGITS_TEST, _DIGITS_SEED = 0.2, 0
#: What torchvision raises for files that are missing, cut short or of another kind.
_TORCHVISION_ERRORS = (AssertionError, EOFError, IndexError, RuntimeError, ValueError)


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


def hold_out(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Draw a part out of a split: what stays, and the part."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    count = round(len(split) * fraction)
    drawn, kept = order[:count].sort().values, order[count:].sort().values
    return (
        Split(split.images[kept], split.labels[kept]),
        Split(split.images[drawn], split.labels[drawn]),
    )


def _digits(directory: Path) -> Parts:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images).mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
    everything = Split(pixels, torch.from_numpy(labels).to(torch.int64))
    train, test = hold_out(everything, _DIGITS_TEST, _DIGITS_SEED)
    return train, test, [str(i) for i in range(10)]


def _fashion_mnist(directory: Path) -> Parts:
    from torchvision.datasets import FashionMNIST

    belongs = "FashionMNIST/raw/ with the four official *-ubyte.gz files"
    parts = _torchvision(FashionMNIST, directory, belongs)
    train, test = (Split(part.data.unsqueeze(1), part.targets.long()) for part in parts)
    return train, test, list(FashionMNIST.classes)


def _cifar10(directory: Path) -> Parts:
    from torchvision.datasets import CIFAR10

    belongs = "cifar-10-batches-py/, or the official cifar-10-python.tar.gz"
    parts = _torchvision(CIFAR10, directory, belongs)
    images = [torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in parts]
    train, test = (Split(x, torch.tensor(p.targets)) for x, p in zip(images, parts, strict=True))
    return train, test, list(parts[0].classes)


SOURCES: dict[str, Callable[[Path], Parts]] = {
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "cifar10": _cifar10,
}


def _torchvision(source: Callable[..., Any], directory: Path, belongs: str) -> tuple[Any, Any]:
    """Both parts of a torchvision data set, downloaded or unpacked only if it is not there."""

    def both(*, download: bool) -> tuple[Any, Any]:
        train, test = (source(directory, train=part, download=download) for part in (True, False))
        return train, test

    with suppress(*_TORCHVISION_ERRORS):
        return both(download=False)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return both(download=True)
    except (OSError, *_TORCHVISION_ERRORS) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileNotFoundError(
            f"{source.__name__} in {directory} is missing or damaged, and could not be "
            f"downloaded ({reason}). What belongs there: {belongs}"
        ) from error


def image_folder(folder: Path, size: int | None, channels: int | None) -> Parts:
    """Read ``folder/train/<class>/*`` and ``folder/test/<class>/*``."""
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            raise FileNotFoundError(
                f"{folder / part} is no folder; expected train/<class>/* and test/<class>/*"
            )
    names = _class_names(folder / "train")
    other = [name for name in _class_names(folder / "test") if name not in names]
    if other:
        raise ValueError(f"{folder / 'test'}: classes {', '.join(other)} are not in train/")
    train = _read_part(folder / "train", names, size, channels)
    counts = torch.bincount(train.labels, minlength=len(names)).tolist()
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise ValueError(f"{folder / 'train'}: no images of {', '.join(empty)}")
    test = _read_part(folder / "test", names, size, train.images.shape[1])
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = " and ".join("×".join(map(str, s.images.shape[2:])) for s in (train, test))
        raise ValueError(f"{folder}: images in train/ and test/ are {sizes}; give --image-size")
    return train, test, names


def _class_names(folder: Path) -> list[str]:
    """Return a folder's folders, but for hidden ones such as .ipynb_checkpoints."""
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entry.name for entry in entries if entry.is_dir())


def _read_part(folder: Path, names: list[str], size: int | None, channels: int | None) -> Split:
    paths, labels = _list_images(folder, names)
    if not paths:
        raise ValueError(f"{folder}: no images; expected {folder.name}/<class>/<image files>")
    return Split(torch.from_numpy(decode_images(paths, size, channels)), labels)


def _list_images(folder: Path, class_names: Sequence[str]) -> tuple[list[Path], Tensor]:
    """Find the image files below ``folder/<class>/`` and their labels, in sorted order."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        files = sorted((folder / name).rglob("*"))
        found = [f for f in files if f.suffix.lower() in IMG_EXTENSIONS and f.is_file()]
        paths += found
        labels += [label] * len(found)
    return paths, torch.tensor(labels, dtype=torch.int64)
