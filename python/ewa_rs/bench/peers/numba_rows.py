"""Rows that are slices, in Numba: (rows, n)."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import njit, prange

from ewa_rs.bench.peers.numba_exp import EXP


@cache
def make_rows(dtype: str, small_q: bool, small_k: bool, masked: bool) -> tuple[Any, Any]:
    """Return forward and backward; small operands have one number for each of their rows."""
    exp = EXP[dtype]

    @njit(parallel=True, fastmath=True)
    def forward(q, k, v, mask, scale, y, top, inverse):  # type: ignore[no-untyped-def]
        rows, n = y.shape
        for r in prange(rows):
            qr, kr = q[r % q.shape[0]], k[r % k.shape[0]]
            highest = y.dtype.type(-1e30)
            for i in range(n):
                z = (qr[0] if small_q else qr[i]) * (kr[0] if small_k else kr[i]) * scale
                if not masked or mask[r, i]:
                    highest = max(highest, z)
            total = y.dtype.type(0)
            for i in range(n):
                e = exp(
                    (qr[0] if small_q else qr[i]) * (kr[0] if small_k else kr[i]) * scale - highest
                )
                if masked and not mask[r, i]:
                    e = y.dtype.type(0)
                y[r, i] = e
                total += e
            top[r] = highest
            inverse[r] = 1 / total
            for i in range(n):
                y[r, i] *= inverse[r] * v[r, i]

    @njit(parallel=True, fastmath=True)
    def backward(q, k, v, mask, scale, g, top, inverse, dq, dk, dv):  # type: ignore[no-untyped-def]
        rows, n = g.shape
        zero = g.dtype.type(0)
        for r in prange(rows):
            qr, kr = q[r % q.shape[0]], k[r % k.shape[0]]
            total = zero
            for i in range(n):
                a = (
                    exp(
                        (qr[0] if small_q else qr[i]) * (kr[0] if small_k else kr[i]) * scale
                        - top[r]
                    )
                    * inverse[r]
                )
                if masked and not mask[r, i]:
                    a = zero
                dv[r, i] = a * g[r, i]
                total += dv[r, i] * v[r, i]
            sum_q = zero
            sum_k = zero
            for i in range(n):
                a = (
                    exp(
                        (qr[0] if small_q else qr[i]) * (kr[0] if small_k else kr[i]) * scale
                        - top[r]
                    )
                    * inverse[r]
                )
                if masked and not mask[r, i]:
                    a = zero
                dz = a * (g[r, i] * v[r, i] - total) * scale
                if small_q:
                    sum_q += dz * (kr[0] if small_k else kr[i])
                else:
                    dq[r, i] = dz * (kr[0] if small_k else kr[i])
                if small_k:
                    sum_k += dz * (qr[0] if small_q else qr[i])
                else:
                    dk[r, i] = dz * (qr[0] if small_q else qr[i])
            if small_q:
                dq[r] = sum_q
            if small_k:
                dk[r] = sum_k

    return forward, backward
