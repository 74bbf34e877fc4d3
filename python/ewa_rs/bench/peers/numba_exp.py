"""An exponential that LLVM vectorises, which Numba's own does not without a patched LLVM."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

# Powers of ln 2 over factorials: 2^r = Σ c r^i for |r| ≤ 1/2.
_C = [math.log(2) ** i / math.factorial(i) for i in range(13)]


@njit(inline="always")
def _exp32(x: Any) -> Any:
    t = max(np.float32(1.4426950408889634) * x, np.float32(-126.0))
    n = np.floor(t + np.float32(0.5))
    r = t - n
    p = np.float32(_C6)
    for c in (_C5, _C4, _C3, _C2, _C1, 1.0):
        p = p * r + np.float32(c)
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(inline="always")
def _exp64(x: Any) -> Any:
    t = max(1.4426950408889634 * x, -1022.0)
    n = np.floor(t + 0.5)
    r = t - n
    p = _C12
    for c in (_C11, _C10, _C9, _C8, _C7, _C6, _C5, _C4, _C3, _C2, _C1, 1.0):
        p = p * r + c
    return p * np.int64((np.int64(n) + 1023) << 52).view(np.float64)


_, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12 = _C
#: e^x for x ≤ 0, by the name of a dtype.
EXP = {"float32": _exp32, "float64": _exp64}
