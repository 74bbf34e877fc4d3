"""From image files to classes, whatever computes the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ewa_rs.utils.checkpoint_info import CheckpointInfo

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_BATCH = 512


@dataclass(frozen=True)
class Classifier:
    """A trained network, ready to be called.

    Attributes
    ----------
    info
        What the file says: network, class names, image shape, mean and std of the pixels.
    runtime
        What computes it: ``rust``, ``onnxruntime`` or ``torch``.
    run
        The network: normalised float32 images ``(n, channels, height, width)`` to logits.
    """

    info: CheckpointInfo
    runtime: str
    run: Forward

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the outputs ``(n, classes)`` for pixels ``(n, channels, height, width)``.

        Raises
        ------
        TypeError
            If the images are not uint8.
        ValueError
            If they are not of the shape that the network was trained on.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise TypeError(f"images: expected uint8 pixels, got {images.dtype}")
        if images.ndim != 4 or images.shape[1:] != self.info.input_shape:
            expected = ", ".join(map(str, self.info.input_shape))
            raise ValueError(f"images: expected shape (n, {expected}), got {images.shape}")
        if not len(images):
            return np.empty((0, self.info.num_classes), np.float32)
        parts = (images[i : i + _BATCH] for i in range(0, len(images), _BATCH))
        return np.concatenate([self.run(self._normalise(part)) for part in parts])

    def predict(self, files: Sequence[str | Path]) -> list[dict[str, Any]]:
        """Return for each image file the probability of every class, the likeliest first.

        The files may have any size and mode; they become what the network was trained on.
        """
        from ewa_rs.inference.images import decode_images  # needs Pillow, arrays do not

        channels, height, width = self.info.input_shape
        logits = self.logits(decode_images([Path(f) for f in files], (height, width), channels))
        predictions = []
        for file, row in zip(files, _softmax(logits).tolist(), strict=True):
            classes = zip(self.info.class_names, row, strict=True)
            likeliest = sorted(classes, key=lambda pair: -pair[1])
            predictions.append(
                {"image": str(file), "class": likeliest[0][0], "probabilities": dict(likeliest)}
            )
        return predictions

    def _normalise(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        shift, factor = self._moments
        x = images.astype(np.float32)
        x -= shift
        x *= factor
        return x

    @cached_property
    def _moments(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mean, std = (
            np.array(values, np.float32).reshape(-1, 1, 1)
            for values in (self.info.mean, self.info.std)
        )
        return 255 * mean, np.reciprocal(255 * std)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    e = np.exp(logits - logits.max(1, keepdims=True))
    shares: NDArray[np.float32] = e / e.sum(1, keepdims=True)
    return shares
