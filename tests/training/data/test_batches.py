"""Batches: normalised, and augmented by what an image may become."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ewa_rs.training.data.batches import Normaliser, augment


def test_normaliser() -> None:
    images = torch.randint(256, (50, 3, 4, 5), dtype=torch.uint8)
    pixels = images.double() / 255
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3), correction=0)
    x = Normaliser(mean.tolist(), std.tolist())(images)
    expected = (pixels - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    torch.testing.assert_close(x, expected.float(), rtol=1e-5, atol=1e-5)
    last = Normaliser(mean.tolist(), std.tolist(), memory_format=torch.channels_last)(images)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, x)


@pytest.mark.parametrize("shape", [(200, 1, 8, 8), (200, 3, 9, 16)], ids=str)
def test_augmented_image_is_a_shift_of_it_or_of_its_mirror_image(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    y = augment(x)
    assert y.shape == x.shape
    _, _, height, width = shape
    dy, dx = height // 8, width // 8
    kinds = set()
    for before, after in zip(x.numpy(), y.numpy(), strict=True):
        matches = [
            (flip, top, left)
            for flip in (False, True)
            for top in range(2 * dy + 1)
            for left in range(2 * dx + 1)
            if np.array_equal(after, _shifted(before, flip, top, left, dy, dx))
        ]
        assert len(matches) == 1
        kinds.add(matches[0])
    assert len(kinds) == 2 * (2 * dy + 1) * (2 * dx + 1)


def _shifted(image: np.ndarray, flip: bool, top: int, left: int, dy: int, dx: int) -> np.ndarray:
    image = image[..., ::-1] if flip else image
    padded = np.pad(image, ((0, 0), (dy, dy), (dx, dx)), mode="reflect")
    _, height, width = image.shape
    return padded[:, top : top + height, left : left + width]
