"""Element-wise attention (placeholder until the compiled module is there)."""

from ewa_rs.ops.elementwise_attention.torch import composite


def elementwise_attention(q, k, v, *, axis=-1, scale=None, mask=None, out=None, return_weights=False, backend=None):
    import math, torch
    shape = torch.broadcast_shapes(q.shape, k.shape, v.shape)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    scale = 1 / math.sqrt(max(1, math.prod(shape[a] for a in axes))) if scale is None else scale
    y, a = composite(q, k, v, mask, axes, scale)
    return (y, a) if return_weights else y
