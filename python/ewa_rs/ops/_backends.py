"""Which code computes an op."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ewa_rs.ops._arguments import are_tensors, check_devices

if TYPE_CHECKING:
    from torch import Tensor

BACKENDS = ("rust", "torch", "triton")


def backend_for(*inputs: Any) -> str:
    """Say which code computes an op on such inputs, unless its `backend` says otherwise.

    Parameters
    ----------
    *inputs : array_like or torch.Tensor
        What the op is to be called with.

    Returns
    -------
    str
        'rust' for NumPy arrays, what makes one, and tensors on the CPU: the Rust kernels. 'triton'
        for tensors on CUDA where Triton is installed: one fused kernel. 'torch' elsewhere: PyTorch
        operations; `elementwise_attention_pool2d` takes them on CUDA too.

    Raises
    ------
    TypeError
        If there are no inputs, or arrays and tensors together.
    ValueError
        If tensors are on different devices.

    Examples
    --------
    >>> import numpy as np
    >>> import ewa_rs
    >>> ewa_rs.backend_for(np.ones(3))
    'rust'
    """
    if not inputs:
        raise TypeError("backend_for: expected the inputs of an op, got none")
    named = {f"input {number}": value for number, value in enumerate(inputs)}
    if not are_tensors(**named):
        return "rust"
    tensors = {name: value for name, value in named.items() if value is not None}
    check_devices(**tensors)
    return choose_backend(None, next(iter(tensors.values())))


def choose_backend(backend: str | None, like: Tensor) -> str:
    """Return the backend asked for, if it can, or what fits the device."""
    if backend is None and like.is_cpu:
        return "rust"
    check_backend(backend)
    if backend == "rust" and not like.is_cpu:
        raise ValueError(f"backend: 'rust' takes tensors on the CPU, got tensors on {like.device}")
    if backend in ("rust", "torch"):
        return backend
    if like.is_cuda:
        from ewa_rs.ops._triton import takes  # imports torch, which this file does without

        if takes(like.device, like.dtype):
            return "triton"
    if backend == "triton":
        raise ValueError(
            "backend: 'triton' takes float32, float16 and bfloat16 tensors on a CUDA device of "
            f"compute capability 7.5 or later, where triton is installed; got {like.dtype} "
            f"on {like.device}"
        )
    return "torch"


def check_backend(backend: str | None) -> None:
    """Raise a ValueError unless there is such a backend."""
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"backend: expected None, 'rust', 'torch' or 'triton', got {backend!r}")
