"""The sizes of windows: checks that arrays and tensors share, and those of tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Pair: TypeAlias = tuple[int, int]


def checked_pair(name: str, sizes: int | Sequence[int] | None) -> Pair | None:
    """Return an int or a pair of them, at least 1, as a pair."""
    if sizes is None:
        return None
    try:
        both = sizes if isinstance(sizes, Sequence) else (sizes, sizes)
        if any(isinstance(size, bool | str) for size in both):
            raise TypeError
        pair = tuple(operator.index(size) for size in both)
    except TypeError:
        message = f"{name}: expected an int, a pair of ints or None, got {sizes!r}"
        raise TypeError(message) from None
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{name}: expected one or two sizes of at least 1, got {sizes!r}")
    return pair[0], pair[1]


def output_shape(
    x: Sequence[int], w: Sequence[int], kernel: Sequence[int], stride: Sequence[int]
) -> tuple[int, ...]:
    """Return the shape of the output, if shapes and sizes fit; none are the whole image.

    What the Rust side says of arrays, of sizes that may be symbols.
    """
    if len(x) < 3:
        raise ValueError(f"x: expected a shape (…, C, H, W), got {tuple(x)}")
    *lead, channels, height, width = x
    if height == 0 or width == 0:
        raise ValueError(f"x: expected images of at least one pixel, got the shape {tuple(x)}")
    high, wide = kernel or (height, width)
    down, right = stride or (high, wide) if kernel else (1, 1)  # one window
    for name, sizes in (("kernel_size", (high, wide)), ("stride", (down, right))):
        if sizes[0] < 1 or sizes[1] < 1:
            raise ValueError(f"{name}: expected sizes of at least 1, got {sizes}")
    if high > height or wide > width:
        raise ValueError(
            f"kernel_size: expected a window within the image of ({height}, {width}), "
            f"got ({high}, {wide})"
        )
    if tuple(w) not in ((channels,), (channels, high, wide)):
        raise ValueError(
            f"w: expected the shape ({channels},) or ({channels}, {high}, {wide}), got {tuple(w)}"
        )
    if not kernel:
        return (*lead, channels, 1, 1)
    return (*lead, channels, (height - high) // down + 1, (width - wide) // right + 1)
