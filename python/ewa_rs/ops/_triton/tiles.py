"""What the Triton kernels are made of: indices, loads and stores, projections and scores."""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LOWEST = tl.constexpr(-3.4e38)


@triton.jit
def unravel(linear, sizes):
    """Index along each axis; the last one runs fastest."""
    index = ()
    for d in tl.static_range(len(sizes) - 1, 0, -1):
        index = (linear % sizes[d],) + index
        linear = linear // sizes[d]
    return (linear,) + index


@triton.jit
def offset(index, strides):
    offset = index[0] * strides[0]
    for d in tl.static_range(1, len(strides)):
        offset = offset + index[d] * strides[d]
    return offset


@triton.jit
def load(pointer, index, strides, keep):
    return tl.load(pointer + offset(index, strides), mask=keep, other=0).to(tl.float32)


@triton.jit
def store(pointer, index, strides, value, keep):
    tl.store(pointer + offset(index, strides), value, mask=keep)


@triton.jit
def project(inputs, strides, index, keep, PROJECT: tl.constexpr):
    """First input, the arrays that it is multiplied with (if any), and q, k, v."""
    x = load(inputs[0], index, strides[0], keep)
    second = load(inputs[1], index, strides[1], keep)
    third = load(inputs[2], index, strides[2], keep)
    if PROJECT:
        w_v = load(inputs[3], index, strides[3], keep)
        q, k, v = x * second, x * third, x * w_v
        if inputs[4] is not None:
            q += load(inputs[4], index, strides[4], keep)
        if inputs[5] is not None:
            k += load(inputs[5], index, strides[5], keep)
        if inputs[6] is not None:
            v += load(inputs[6], index, strides[6], keep)
        return x, second, third, w_v, q, k, v
    else:
        return x, x, x, x, x, second, third


@triton.jit
def scores(
    q, k, inputs, strides, index, keep, score_scale, BOOLEAN: tl.constexpr, PROJECT: tl.constexpr
):
    z = q * score_scale * k
    mask: tl.constexpr = 7 if PROJECT else 3
    if inputs[mask] is not None:
        m = load(inputs[mask], index, strides[mask], keep)
        if BOOLEAN:
            z = tl.where(m != 0, z, float("-inf"))
        else:
            # Only -inf excludes: the lowest finite number, with which some masks are filled,
            # must not become -inf in base 2.
            added = m * LOG2E
            z += tl.where((added < LOWEST) & (m > float("-inf")), LOWEST, added)
    return tl.where(keep, z, float("-inf"))


@triton.jit
def weights_and_grad(
    q, k, v, inputs, strides, grad_y, grad_a, grad_strides, shift, factor, index, keep, score_scale,
    BOOLEAN: tl.constexpr, PROJECT: tl.constexpr,
):  # fmt: skip
    """Weights, gradient of the output, and of the weights through both outputs."""
    z = scores(q, k, inputs, strides, index, keep, score_scale, BOOLEAN, PROJECT)
    a = tl.exp2(z - shift) * factor
    g = load(grad_y, index, grad_strides[0], keep)
    h = g * v
    if grad_a is not None:
        h += load(grad_a, index, grad_strides[1], keep)
    return a, g, h


@triton.jit
def store_folded(
    pointer, outer, lane, lane_block, columns, strides, value, keep, inside,
    FOLDED: tl.constexpr,
):  # fmt: skip
    """Store a tile, or the sum of its lanes in place of the lane's number that of the tile."""
    if FOLDED:
        total = tl.sum(value, 0)[None, :]
        store(pointer, outer + (lane_block,) + columns, strides, total, inside)
    else:
        store(pointer, outer + (lane,) + columns, strides, value, keep)
