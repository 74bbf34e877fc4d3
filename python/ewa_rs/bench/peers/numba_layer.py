"""Self-attention with learned arrays over rows, in Numba: x (rows, n), w (n,)."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import njit, prange

from ewa_rs.bench.peers.numba_exp import EXP


@cache
def make_layer(dtype: str) -> tuple[Any, Any]:
    """Return forward and backward; gradients of weights are partial sums over chunks of rows."""
    exp = EXP[dtype]

    @njit(parallel=True, fastmath=True)
    def forward(x, w_q, w_k, w_v, mask, scale, y, top, inverse):  # type: ignore[no-untyped-def]
        rows, n = x.shape
        w = w_q * w_k * scale
        for r in prange(rows):
            highest = y.dtype.type(-1e30)
            for i in range(n):
                highest = max(highest, x[r, i] * x[r, i] * w[i])
            total = y.dtype.type(0)
            for i in range(n):
                e = exp(x[r, i] * x[r, i] * w[i] - highest)
                y[r, i] = e
                total += e
            top[r] = highest
            inverse[r] = 1 / total
            for i in range(n):
                y[r, i] *= inverse[r] * x[r, i] * w_v[i]

    @njit(parallel=True, fastmath=True)
    def backward(x, w_q, w_k, w_v, mask, scale, g, top, inverse, dx, dw_q, dw_k, dw_v):  # type: ignore[no-untyped-def]
        rows, n = x.shape
        chunks = dw_q.shape[0]
        w = w_q * w_k * scale
        for c in prange(chunks):
            dw_q[c] = 0
            dw_k[c] = 0
            dw_v[c] = 0
            for r in range(c * rows // chunks, (c + 1) * rows // chunks):
                total = g.dtype.type(0)
                for i in range(n):
                    a = exp(x[r, i] * x[r, i] * w[i] - top[r]) * inverse[r]
                    dx[r, i] = a
                    total += a * g[r, i] * x[r, i] * w_v[i]
                for i in range(n):
                    a = dx[r, i]
                    dv = a * g[r, i]
                    dz = scale * a * (g[r, i] * x[r, i] * w_v[i] - total)
                    square = dz * x[r, i] * x[r, i]
                    dw_q[c, i] += square * w_k[i]
                    dw_k[c, i] += square * w_q[i]
                    dw_v[c, i] += dv * x[r, i]
                    dx[r, i] = dv * w_v[i] + 2 * dz * x[r, i] * w_q[i] * w_k[i]

    return forward, backward
