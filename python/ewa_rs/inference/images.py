"""Image files of any size and mode as one uint8 array; needs Pillow, not PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

_PILLOW_ERRORS = (
    OSError,
    UnidentifiedImageError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,  # more pixels than Pillow takes for a picture
)


def decode_image(
    path: Path, size: int | tuple[int, int] | None, channels: int | None
) -> NDArray[np.uint8]:
    """Read an image file as ``(channels, height, width)``.

    ``size`` (one number for a square, or height and width) resizes; ``channels`` 1 makes it grey, 3
    RGB, None keeps what the file has. Transparent parts come out on white; 16-bit images lose their
    lower byte, and floats are taken for 0 to 1 if none is above, else for 0 to 255.

    Raises
    ------
    ValueError
        If the file is no image or a damaged one; the message names it.
    """
    try:
        with Image.open(path) as file:
            image = _to_8_bits(ImageOps.exif_transpose(file))
            grey = image.mode == "L" if channels is None else channels == 1
            image = image.convert("L" if grey else "RGB")
            if size is not None:
                height, width = (size, size) if isinstance(size, int) else size
                if image.size != (width, height):
                    image = image.resize((width, height), Image.Resampling.BILINEAR)
            array = np.array(image, dtype=np.uint8)
    except FileNotFoundError:
        raise
    except _PILLOW_ERRORS as error:
        raise ValueError(f"{path}: not a readable image ({error})") from error
    return array[None] if grey else array.transpose(2, 0, 1)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Return the image as L or RGB, whatever its mode."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "I":  # 16 bits in Pillow's 32-bit mode, or integers up to 255
        pixels = np.asarray(image).clip(0, 65535)
        return Image.fromarray((pixels >> 8 if pixels.max() > 255 else pixels).astype(np.uint8))
    if image.mode == "F":  # from 0 to 1, or up to 255
        pixels = np.nan_to_num(np.asarray(image))
        scale = 255 if pixels.max() <= 1 else 1
        return Image.fromarray((scale * pixels).clip(0, 255).round().astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        flat = Image.alpha_composite(white, rgba)
        return flat.convert("L" if image.mode in ("LA", "La", "L") else "RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def decode_images(
    paths: Sequence[Path], size: int | tuple[int, int] | None, channels: int | None
) -> NDArray[np.uint8]:
    """Read image files into one array ``(n, channels, height, width)``.

    Without ``channels``, the images are grey if all the files are. Without ``size``, all of them
    must have the same.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        arrays = list(pool.map(lambda path: decode_image(path, size, channels), paths))
    for path, array in zip(paths, arrays, strict=True):
        if array.shape[1:] != arrays[0].shape[1:]:
            first, other = ("×".join(map(str, a.shape[1:])) for a in (arrays[0], array))
            raise ValueError(
                f"images differ in size: {paths[0]} is {first}, {path} {other}; "
                "give --image-size (image_size)"
            )
    planes = max(a.shape[0] for a in arrays)
    out = np.empty((len(arrays), planes, *arrays[0].shape[1:]), np.uint8)
    for i, array in enumerate(arrays):
        out[i] = array  # a grey image among coloured ones broadcasts
    return out
