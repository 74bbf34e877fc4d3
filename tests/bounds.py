"""How far a correct implementation may be from the exact result: rounding errors, added up.

Everything is in units of eps, the distance from 1 to the next number of the type computed in
(float32 for the 16-bit types); one rounding is half an eps, relative to its result. Per slice:

* A score s · q · k + mask is three products and a sum, and may be scaled by log2(e): an error of
  2 · |s q k| + |z| / 2. If q and k are projections x ∘ w + b, |q| stands for |x ∘ w| + |b| (the
  two may cancel), and their roundings add 2 more.
* z - max z adds |z - max z| / 2. An error of the maximum itself is the same for all elements of a
  slice and cancels.
* An error d of a score is a relative error d of its exponential, and the sum of exponentials has
  the weighted mean of theirs. So a weight is within FORWARD + d_i + Σ a_j d_j, where FORWARD is
  what exp, the sum, the division and the product with v may cost: 8, the project's promise.
* Gradients subtract: a ∘ (h - Σ a ∘ h). An error is relative to the sum of the absolute values of
  the terms, not to the result. Each further sum (over the slice, and over broadcast axes) may cost
  another 8 with the products around it.
* A weight, or a product, below the smallest normal number may be flushed to zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ewa_rs.ops.elementwise_attention.reference import scores, softmax, sum_to
from ewa_rs.ops.elementwise_attention_pool2d.reference import prepared, windows
from ewa_rs.ops.elementwise_attention_pool2d.reference import softmax as pool_softmax

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

FORWARD = 8.0
SUM = 8.0


def attention_bounds(
    operands: Arrays,
    grad: Array,
    grad_weights: Array,
    *,
    eps: float,
    tiny: float,
    axis: Any,
    scale: float | None,
    mask: Array | None,
) -> dict[str, Array]:
    """Largest error of the output, the weights and the gradients of element-wise attention."""
    sizes = {name: np.abs(x) for name, x in operands.items()}
    bounds = unreduced_bounds(
        operands, sizes, 2.0, grad, grad_weights, eps, tiny, axis=axis, scale=scale, mask=mask
    )
    shapes = {name: x.shape for name, x in operands.items()}
    if mask is not None:
        shapes["mask"] = mask.shape
    return bounds | {name: sum_to(bounds[name], shape) for name, shape in shapes.items()}


def self_attention_bounds(
    operands: Arrays,
    grad: Array,
    grad_weights: Array,
    *,
    eps: float,
    tiny: float,
    axis: Any,
    scale: float | None,
    mask: Array | None,
) -> dict[str, Array]:
    """Give the same of element-wise self-attention: the projections are exact up to their sizes."""
    x = operands["x"]
    projected, sizes = {}, {}
    for p in "qkv":
        term, bias = x * operands[f"w_{p}"], operands.get(f"b_{p}", np.zeros(()))
        projected[p], sizes[p] = term + bias, np.abs(term) + np.abs(bias)
    full = unreduced_bounds(
        projected, sizes, 4.0, grad, grad_weights, eps, tiny, axis=axis, scale=scale, mask=mask
    )
    bounds = {"output": full["output"], "weights": full["weights"], "x": np.zeros(())}
    for p in "qkv":
        w = operands[f"w_{p}"]
        bounds["x"] = bounds["x"] + np.where(full["empty"], 0, full[p] * np.abs(w)) + tiny
        bounds[f"w_{p}"] = sum_to(np.where(full["empty"], 0, full[p] * np.abs(x)) + tiny, w.shape)
        if f"b_{p}" in operands:
            bounds[f"b_{p}"] = sum_to(full[p], operands[f"b_{p}"].shape)
    bounds["x"] = sum_to(bounds["x"], x.shape)
    if mask is not None:
        bounds["mask"] = sum_to(full["mask"], mask.shape)
    return bounds


def unreduced_bounds(
    operands: Arrays,
    sizes: Arrays,
    roundings: float,
    grad: Array,
    grad_weights: Array,
    eps: float,
    tiny: float,
    *,
    axis: Any,
    scale: float | None,
    mask: Array | None,
) -> dict[str, Array]:
    """Bounds before gradients are summed over broadcast axes; `sizes` are |q|, |k| and |v|."""
    z, axes, s = scores(operands["q"], operands["k"], operands["v"], axis, scale, mask)
    a, empty = softmax(z, axes)
    top = np.where(empty, 0, z.max(axes, keepdims=True, initial=-np.inf))

    def total(x: Array) -> Array:
        return np.asarray(x.sum(axes, keepdims=True))

    score = roundings * abs(s) * sizes["q"] * sizes["k"] + (np.abs(z) + np.abs(z - top)) / 2
    score = np.where(np.isfinite(z), score, 0)
    weight = FORWARD + score + total(a * score)

    g, v = np.abs(grad), sizes["v"]
    h = g * v + np.abs(grad_weights)
    slack = weight + 2 * SUM
    dz = eps * (slack * a * (h + total(a * h)) + a * total(slack * a * h))
    dz = dz + tiny * (2 + h + total(a * h) + a * total(h))
    dz = np.where(empty, 0, dz)
    # NaN where a flushed weight meets an infinite value.
    flushed = np.where(a < 2 * tiny, 0 * v, 0)
    return {
        "output": eps * weight * a * v + tiny * (1 + v) + flushed,
        "weights": eps * weight * a + tiny,
        "q": np.where(empty, 0, abs(s) * sizes["k"] * dz) + tiny,
        "k": np.where(empty, 0, abs(s) * sizes["q"] * dz) + tiny,
        "v": eps * slack * g * a + tiny * (1 + g),
        "mask": dz,
        "empty": empty,
    }


def pool_bounds(
    operands: Arrays,
    grad: Array,
    *,
    eps: float,
    tiny: float,
    kernel_size: Any,
    stride: Any,
) -> dict[str, Array]:
    """Largest error of the output and the gradients of attention pooling.

    A score w · x in base 2 is two roundings, and the difference to the largest one is another;
    everything else is as above.
    """
    shape = operands["w"].shape
    x, w, kernel, step = prepared(operands["x"], operands["w"], kernel_size, stride)
    bounds = {"output": np.zeros(grad.shape), "x": np.zeros(x.shape)}
    dw = np.zeros((*x.shape[:-2], *kernel))
    for index, window in windows(x.shape, kernel, step):
        part, g = x[window], np.abs(grad[index])[..., None, None]
        z = w * part
        a = pool_softmax(z)
        apart = z.max((-2, -1), keepdims=True, initial=-np.inf) - z
        d = np.abs(z) + apart / 2 + np.abs(z).max((-2, -1), keepdims=True, initial=0) / 2
        relative = (FORWARD + d + (a * d).sum((-2, -1), keepdims=True)) * eps
        size = np.abs(part)
        a_error = a * relative + tiny
        y_error = (a_error * size).sum((-2, -1), keepdims=True) + tiny
        y = (a * part).sum((-2, -1), keepdims=True)
        bounds["output"][index] = y_error[..., 0, 0]
        off = np.abs(part - y)
        off_error = eps * (size + np.abs(y)) + y_error
        factor = 1 + np.abs(w) * off
        error = a_error * factor + a * (np.abs(w) * off_error + 2 * eps * factor)
        bounds["x"][window] += g * error + SUM * eps * g * a * factor + tiny
        # With one w a channel, (x - y)² stands for x (x - y).
        largest = size + np.abs(y)
        dw += g * (a_error * largest * off + a * largest * off_error) + tiny
        dw += SUM * eps * g * a * largest * off
    dw = dw.sum(tuple(range(x.ndim - 3)))
    return {**bounds, "w": dw.sum((-2, -1)) if len(shape) == 1 else dw}
