"""What a file of weights says of itself, the same in safetensors and in ONNX."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMAT, VERSION = "ewa_rs-checkpoint", 1
_TUPLES = ("input_shape", "class_names", "mean", "std")


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint's metadata says: all that evaluation and prediction need.

    The last three are of published weights: the command that trained them, their accuracy on the
    test set as a share, and their licence.
    """

    model: str
    model_options: dict[str, Any]
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    data: str
    seed: int
    val_fraction: float
    image_size: int | None
    channels: int | None
    recipe: str | None = None
    accuracy: float | None = None
    licence: str | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def to_metadata(self) -> dict[str, str]:
        """Return the entry of a file's metadata; one, as safetensors keeps no order of several."""
        details = {"version": VERSION, **asdict(self), "num_classes": self.num_classes}
        return {FORMAT: json.dumps(details)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path, kind: str) -> CheckpointInfo:
        """Read the metadata of a file; what is wrong with them is a ValueError that names it."""
        if FORMAT not in metadata:
            raise ValueError(
                f"{path}: {kind}, but no checkpoint of ewa_rs (expected metadata {FORMAT!r})"
            )
        try:
            values = json.loads(metadata[FORMAT])
            version = values.pop("version")
            if version != VERSION:
                raise ValueError(
                    f"{path}: checkpoint version {version}, this ewa_rs reads {VERSION}"
                )
            values.pop("num_classes")
            return cls(**values | {name: tuple(values[name]) for name in _TUPLES})
        except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise damaged(path, error) from error


def read_safetensors(path: Path, framework: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return metadata and tensors of a file, arrays (``np``) or of PyTorch (``pt``)."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(f"{path}: safetensors is not installed") from error
    try:
        with safe_open(path, framework=framework) as file:
            names = file.keys()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such checkpoint") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: no safetensors, or a truncated file ({error})") from error


def damaged(path: Path, error: Exception) -> ValueError:
    """Return the error for a file whose parts do not fit together."""
    return ValueError(f"{path}: damaged checkpoint ({' '.join(str(error).split())[:200]})")
