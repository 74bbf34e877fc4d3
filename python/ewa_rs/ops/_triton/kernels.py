"""Kernels in Triton: a fused forward and a fused backward that both ops share.

A program takes a tile of `BLOCK_S` slices by `BLOCK_R` of their elements. `layout` says how its
place becomes an index (outer axes…, group, lane, reduced axes…); every tensor has its own strides
along these, 0 where it is broadcast, so that nothing is expanded or copied.

Everything is float32 inside. Scores are in base 2: `score_scale` is scale · log2(e). Inputs are
(q, k, v, mask), or, if `PROJECT`, (x, w_q, w_k, w_v, b_q, b_k, b_v, mask); None where not given.
"""

import triton
import triton.language as tl

from ewa_rs.ops._triton.tiles import (
    load,
    project,
    scores,
    store,
    store_folded,
    unravel,
    weights_and_grad,
)


@triton.jit
def forward_kernel(
    inputs, input_strides, y, a, output_strides, top, inverse, statistics_strides,
    outer_sizes, lanes, reduced_sizes, n, score_scale,
    PROJECT: tl.constexpr, RESIDUAL: tl.constexpr, BOOLEAN: tl.constexpr,
    BLOCK_S: tl.constexpr, BLOCK_R: tl.constexpr, ONE_BLOCK: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Output, weights (unless None), and of each slice its maximum and 1 / sum."""
    program = tl.program_id(0).to(INDEX)
    blocks = tl.cdiv(lanes, BLOCK_S)
    outer = unravel(program // blocks, outer_sizes)
    lane = ((program % blocks) * BLOCK_S + tl.arange(0, BLOCK_S).to(INDEX))[:, None]
    columns = tl.arange(0, BLOCK_R).to(INDEX)[None, :]
    shift = tl.full((BLOCK_S, 1), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_S, 1), tl.float32)
    for start in range(0, 1 if ONE_BLOCK else n, BLOCK_R):
        r = start + columns
        keep = (lane < lanes) & (r < n)
        index = outer + (lane,) + unravel(r, reduced_sizes)
        _, _, _, _, q, k, _ = project(inputs, input_strides, index, keep, PROJECT)
        z = scores(q, k, inputs, input_strides, index, keep, score_scale, BOOLEAN, PROJECT)
        highest = tl.maximum(shift, tl.max(z, 1)[:, None])
        finite = tl.where(highest == float("-inf"), 0.0, highest)
        total = total * tl.exp2(shift - finite) + tl.sum(tl.exp2(z - finite), 1)[:, None]
        shift = highest
    # Only −∞ scores add up to 0; a NaN or +∞ among them makes the sum NaN.
    empty = total == 0.0
    shift = tl.where(shift == float("-inf"), 0.0, shift)
    factor = tl.where(empty, 0.0, 1.0 / total)
    for start in range(0, 1 if ONE_BLOCK else n, BLOCK_R):
        r = start + columns
        keep = (lane < lanes) & (r < n)
        index = outer + (lane,) + unravel(r, reduced_sizes)
        x, _, _, _, q, k, v = project(inputs, input_strides, index, keep, PROJECT)
        z = scores(q, k, inputs, input_strides, index, keep, score_scale, BOOLEAN, PROJECT)
        weights = tl.exp2(z - shift) * factor
        output = tl.where(empty, 0.0, weights * v)
        if RESIDUAL:
            output += x
        store(y, index, output_strides, output, keep)
        if a is not None:
            store(a, index, output_strides, weights, keep)
    place = outer + (lane,) + unravel(tl.zeros((1, 1), INDEX), reduced_sizes)
    store(top, place, statistics_strides, shift, lane < lanes)
    store(inverse, place, statistics_strides, factor, lane < lanes)


@triton.jit
def dots_kernel(
    inputs, input_strides, grad_y, grad_a, grad_strides, top, inverse, dots, statistics_strides,
    outer_sizes, lanes, reduced_sizes, n, score_scale,
    PROJECT: tl.constexpr, BOOLEAN: tl.constexpr,
    BLOCK_S: tl.constexpr, BLOCK_R: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Σ a ∘ h of each slice, for slices that are longer than a block."""
    program = tl.program_id(0).to(INDEX)
    blocks = tl.cdiv(lanes, BLOCK_S)
    outer = unravel(program // blocks, outer_sizes)
    lane = ((program % blocks) * BLOCK_S + tl.arange(0, BLOCK_S).to(INDEX))[:, None]
    columns = tl.arange(0, BLOCK_R).to(INDEX)[None, :]
    place = outer + (lane,) + unravel(tl.zeros((1, 1), INDEX), reduced_sizes)
    shift = load(top, place, statistics_strides, lane < lanes)
    factor = load(inverse, place, statistics_strides, lane < lanes)
    dot = tl.zeros((BLOCK_S, 1), tl.float32)
    for start in range(0, n, BLOCK_R):
        r = start + columns
        keep = (lane < lanes) & (r < n)
        index = outer + (lane,) + unravel(r, reduced_sizes)
        _, _, _, _, q, k, v = project(inputs, input_strides, index, keep, PROJECT)
        a, _, h = weights_and_grad(
            q, k, v, inputs, input_strides, grad_y, grad_a, grad_strides, shift, factor,
            index, keep, score_scale, BOOLEAN, PROJECT,
        )  # fmt: skip
        dot += tl.sum(a * h, 1)[:, None]
    store(dots, place, statistics_strides, dot, lane < lanes)


@triton.jit
def backward_kernel(
    inputs, input_strides, grad_y, grad_a, grad_strides, top, inverse, dots, statistics_strides,
    gradients, gradient_strides, outer_sizes, group_size, group_steps, lanes, reduced_sizes, n,
    scale, score_scale,
    SUMMED: tl.constexpr, FOLDED: tl.constexpr,
    PROJECT: tl.constexpr, RESIDUAL: tl.constexpr, BOOLEAN: tl.constexpr,
    BLOCK_S: tl.constexpr, BLOCK_R: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Gradients of the inputs (None where not wanted).

    A program goes through `group_steps` members of the group axis. A gradient that is `SUMMED` is
    added up over them and written once, in place of the step's number that of the program; one
    that is `FOLDED` is added up over the lanes of the tile as well.
    """
    program = tl.program_id(0).to(INDEX)
    lane_blocks, blocks = tl.cdiv(lanes, BLOCK_S), tl.cdiv(n, BLOCK_R)
    groups = tl.cdiv(group_size, group_steps)
    lane_block = program % lane_blocks
    rest = program // lane_blocks
    r = ((rest % blocks) * BLOCK_R + tl.arange(0, BLOCK_R).to(INDEX))[None, :]
    rest = rest // blocks
    group = rest % groups
    outer = unravel(rest // groups, outer_sizes)
    lane = lane_block * BLOCK_S + tl.arange(0, BLOCK_S).to(INDEX)[:, None]
    columns = unravel(r, reduced_sizes)
    keep = (lane < lanes) & (r < n)
    zero = tl.zeros((BLOCK_S, BLOCK_R), tl.float32)
    sums = (zero,) * len(inputs)
    for step in range(group * group_steps, tl.minimum((group + 1) * group_steps, group_size)):
        index = outer + (step, lane) + columns
        place = outer + (step, lane) + unravel(tl.zeros((1, 1), INDEX), reduced_sizes)
        shift = load(top, place, statistics_strides, lane < lanes)
        factor = load(inverse, place, statistics_strides, lane < lanes)
        x, w_q, w_k, w_v, q, k, v = project(inputs, input_strides, index, keep, PROJECT)
        a, g, h = weights_and_grad(
            q, k, v, inputs, input_strides, grad_y, grad_a, grad_strides, shift, factor,
            index, keep, score_scale, BOOLEAN, PROJECT,
        )  # fmt: skip
        if dots is None:
            dot = tl.sum(a * h, 1)[:, None]
        else:
            dot = load(dots, place, statistics_strides, lane < lanes)
        # A slice that keeps nothing has no gradients, whatever it holds.
        some = (factor != 0.0) & keep
        dz = tl.where(some, a * (h - dot), 0.0)
        dq = tl.where(some, scale * dz * k, 0.0)
        dk = tl.where(some, scale * dz * q, 0.0)
        dv = tl.where(some, g * a, 0.0)
        if PROJECT:
            dx = tl.where(some, dq * w_q + dk * w_k + dv * w_v, 0.0)
            if RESIDUAL:
                dx += g
            dw_q = tl.where(some, dq * x, 0.0)
            dw_k = tl.where(some, dk * x, 0.0)
            found = (dx, dw_q, dw_k, tl.where(some, dv * x, 0.0), dq, dk, dv, dz)
        else:
            found = (dq, dk, dv, dz)
        for i in tl.static_range(len(inputs)):
            if gradients[i] is not None:
                if SUMMED[i]:
                    sums = sums[:i] + (sums[i] + found[i],) + sums[i + 1 :]
                else:
                    store_folded(
                        gradients[i], outer + (step,), lane, lane_block, columns,
                        gradient_strides[i], found[i], keep, r < n, FOLDED[i],
                    )  # fmt: skip
    for i in tl.static_range(len(inputs)):
        if SUMMED[i]:
            store_folded(
                gradients[i], outer + (group,), lane, lane_block, columns,
                gradient_strides[i], sums[i], keep, r < n, FOLDED[i],
            )  # fmt: skip
