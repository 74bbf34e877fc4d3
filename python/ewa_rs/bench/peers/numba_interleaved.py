"""Slices that lie side by side, in Numba: (outer, n, inner), softmax over the middle axis."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit, prange

from ewa_rs.bench.peers.numba_exp import EXP


@cache
def make_interleaved(dtype: str, small_q: bool, small_k: bool) -> tuple[Any, Any]:
    """Return forward and backward; small operands have one number for each place on the axis."""
    exp = EXP[dtype]

    @njit(inline="always")
    def at(x: Any, o: int, i: int, j: int, small: bool) -> Any:
        return x[0, i, 0] if small else x[o, i, j]

    @njit(parallel=True, fastmath=True)
    def forward(q, k, v, mask, scale, y, top, inverse):  # type: ignore[no-untyped-def]
        outer, n, inner = y.shape
        for o in prange(outer):
            highest = top[o]
            total = inverse[o]
            for j in range(inner):
                highest[j] = -1e30
                total[j] = 0
            for i in range(n):
                for j in range(inner):
                    z = at(q, o, i, j, small_q) * at(k, o, i, j, small_k) * scale
                    highest[j] = max(highest[j], z)
            for i in range(n):
                for j in range(inner):
                    z = at(q, o, i, j, small_q) * at(k, o, i, j, small_k) * scale
                    e = exp(z - highest[j])
                    y[o, i, j] = e
                    total[j] += e
            for j in range(inner):
                total[j] = 1 / total[j]
            for i in range(n):
                for j in range(inner):
                    y[o, i, j] *= total[j] * v[o, i, j]

    @njit(parallel=True, fastmath=True)
    def backward(q, k, v, mask, scale, g, top, inverse, dq, dk, dv):  # type: ignore[no-untyped-def]
        outer, n, inner = g.shape
        for o in prange(outer):
            total = np.zeros(inner, g.dtype)
            for i in range(n):
                for j in range(inner):
                    z = at(q, o, i, j, small_q) * at(k, o, i, j, small_k) * scale
                    a = exp(z - top[o, j]) * inverse[o, j]
                    dv[o, i, j] = a * g[o, i, j]
                    total[j] += dv[o, i, j] * v[o, i, j]
            for i in range(n):
                sum_q = g.dtype.type(0)
                sum_k = g.dtype.type(0)
                for j in range(inner):
                    qj = at(q, o, i, j, small_q)
                    kj = at(k, o, i, j, small_k)
                    a = exp(qj * kj * scale - top[o, j]) * inverse[o, j]
                    dz = a * (g[o, i, j] * v[o, i, j] - total[j]) * scale
                    if small_q:
                        sum_q += dz * kj
                    else:
                        dq[o, i, j] = dz * kj
                    if small_k:
                        sum_k += dz * qj
                    else:
                        dk[o, i, j] = dz * qj
                if small_q:
                    dq[o, i] = sum_q
                if small_k:
                    dk[o, i] = sum_k

    return forward, backward
