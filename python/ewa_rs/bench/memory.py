"""The memory that a training step through the layer takes beyond what was there before it.

``python -m ewa_rs.bench.memory ewa|eager`` prints the peak of the resident set during forward and
backward, less what it was before, in bytes. It counts all there is: PyTorch's tensors and what the
kernels allocate themselves, output and gradients included.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch
from torch import Tensor

from ewa_rs.nn import ElementwiseSelfAttention

_SHAPE = (12544, 784)


def resident(field: str) -> int:
    """Return VmRSS, or VmHWM, its peak, in bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    if found is None:
        raise OSError(f"/proc/self/status has no {field}")
    return 1024 * int(found[1])


def main(kind: str) -> int:
    """Return the extra memory of one step."""
    layer = ElementwiseSelfAttention(_SHAPE[1])

    def eager(x: Tensor) -> Tensor:
        q, k, v = x * layer.w_q, x * layer.w_k, x * layer.w_v
        return torch.softmax(q * k / _SHAPE[1] ** 0.5, -1) * v

    forward = layer if kind == "ewa" else eager
    # Libraries and threads are loaded by the first step, whose own memory is little.
    small = torch.randn(64, _SHAPE[1], requires_grad=True)
    forward(small).backward(torch.ones_like(small))
    x, grad = torch.randn(_SHAPE, requires_grad=True), torch.randn(_SHAPE)
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak starts anew
    before = resident("VmRSS")
    forward(x).backward(grad)
    return resident("VmHWM") - before


if __name__ == "__main__":
    print(main(sys.argv[1]))
