"""The trained networks that come with the package, and where their files are.

A file is called ``<model>-<data>.safetensors``: weights in float16, and metadata that say how they
were trained and what accuracy they have. Beside it lies its model card, ``<model>-<data>.md``.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from ewa_rs.utils.checkpoint_info import CheckpointInfo

_FOLDER = Path(__file__).parent


def list_pretrained() -> list[tuple[str, str]]:
    """List the network and the data set of each file, the most accurate of a data set first.

    Examples
    --------
    >>> from ewa_rs.pretrained import list_pretrained
    >>> ("ewa_net_s", "fashion-mnist") in list_pretrained()
    True
    """
    pairs = [_split(path) for path in _FOLDER.glob("*.safetensors")]
    accuracies = {pair: pretrained_info(*pair).accuracy or 0.0 for pair in pairs}
    return sorted(pairs, key=lambda pair: (pair[1], -accuracies[pair], pair[0]))


def pretrained_path(model: str, data: str) -> Path:
    """Return the file of a network that was trained on a data set.

    Parameters
    ----------
    model, data
        A pair of `list_pretrained`.

    Raises
    ------
    ValueError
        If there is none; the message lists those that there are.
    """
    path = _FOLDER / f"{model}-{data}.safetensors"
    if (model, data) not in map(_split, _FOLDER.glob("*.safetensors")):
        raise ValueError(f"pretrained: expected {_available()}, got {model}/{data}")
    return path


def find_pretrained(name: str) -> Path:
    """Return the file that ``MODEL/DATA`` or ``DATA`` stands for, of a data set the most accurate.

    Raises
    ------
    ValueError
        If there is none; the message lists those that there are.

    Examples
    --------
    >>> from ewa_rs.pretrained import find_pretrained
    >>> find_pretrained("ewa_net_s/fashion-mnist").name
    'ewa_net_s-fashion-mnist.safetensors'
    """
    model, slash, data = name.rpartition("/")
    if slash:
        return pretrained_path(model, data)
    for model, data in list_pretrained():
        if data == name:
            return pretrained_path(model, data)
    raise ValueError(f"pretrained: expected {_available()}, got {name!r}")


def pretrained_info(model: str, data: str) -> CheckpointInfo:
    """Return what a file says of itself: classes, pixels' mean and std, recipe, accuracy."""
    path = pretrained_path(model, data)
    with path.open("rb") as file:  # the header, which needs no library: its length, then JSON
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return CheckpointInfo.from_metadata(header["__metadata__"], path, "safetensors")


def _split(path: Path) -> tuple[str, str]:
    model, _, data = path.stem.partition("-")
    return model, data


def _available() -> str:
    return "one of " + ", ".join("/".join(pair) for pair in list_pretrained())
