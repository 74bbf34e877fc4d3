"""Image files of every size and mode as arrays of one shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ewa_rs.inference.images import decode_image, decode_images


def save(path: Path, mode: str) -> Path:
    """Save an image of one value a pixel: white at the left, black at the right."""
    ramp = np.array([[255, 0]], np.uint8)
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(ramp).convert("RGB" if mode == "P" else "L").convert(mode)
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3, None])
def test_modes(tmp_path: Path, mode: str, channels: int | None) -> None:
    array = decode_image(save(tmp_path / "x.png", mode), None, channels)
    grey = mode in ("1", "L", "LA", "I;16")
    assert array.shape == (channels or (1 if grey else 3), 1, 2)
    assert (array[:, 0, 0] == 255).all()
    assert (array[:, 0, 1] == 0).all()


def test_cmyk_and_transparency(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    red = decode_image(tmp_path / "red.tif", None, 3)
    assert red[:, 0, 0].tolist() == [255, 0, 0]
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (decode_image(tmp_path / "clear.png", None, 3) == 255).all()


def test_sizes_differ(tmp_path: Path) -> None:
    for i, size in enumerate(((4, 4), (7, 3))):
        Image.new("RGB", size).save(tmp_path / f"{i}.png")
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    with pytest.raises(ValueError, match=r"0.png is 4×4, .*1.png 3×7; .*--image-size"):
        decode_images(paths, None, None)
    assert decode_images(paths, 5, None).shape == (2, 3, 5, 5)


@pytest.mark.parametrize("scale", [1 / 255, 1])
def test_floats_and_whole_numbers(tmp_path: Path, scale: float) -> None:
    """Pillow's 32-bit modes: floats up to 1 or 255, integers up to 255 or 65535."""
    pixels = np.arange(0, 256, 5, np.uint8).reshape(4, 13)
    Image.fromarray((pixels * scale).astype(np.float32)).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(decode_image(tmp_path / "x.tif", None, None)[0], pixels)
    whole = pixels.astype(np.int32) * (257 if scale == 1 else 1)
    Image.fromarray(whole).save(tmp_path / "y.tif")
    np.testing.assert_array_equal(decode_image(tmp_path / "y.tif", None, None)[0], pixels)


def test_more_pixels_than_pillow_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (50, 50)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"x.png: not a readable image \(.*decompression bomb"):
        decode_image(tmp_path / "x.png", None, None)
