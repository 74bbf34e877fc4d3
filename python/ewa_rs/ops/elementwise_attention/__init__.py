"""Element-wise attention: softmax(scale · q∘k [+ mask]) ∘ v."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy import ndarray

from ewa_rs._core import elementwise_attention as on_arrays
from ewa_rs.ops._arguments import are_tensors, check_array_backend

if TYPE_CHECKING:
    from collections.abc import Sequence


def elementwise_attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: Any = None,
    out: Any = None,
    return_weights: bool = False,
    backend: str | None = None,
) -> Any:
    """Attention in which every matrix product is an element-wise one.

    ::

        z = scale · (q ∘ k)  [+ mask]        scores
        a = softmax(z) over axis             weights
        y = a ∘ v                            output

    Time and memory are proportional to the number of elements; no array of n × n exists.

    Parameters
    ----------
    q, k, v : array_like or torch.Tensor
        Arrays that broadcast against each other, of float16, bfloat16, float32 or float64 (they are
        promoted to a common type; the 16-bit types are computed in float32 and rounded once, at the
        end). All arrays, or all tensors.
    axis : int or tuple of int, default -1
        Axis of the broadcast shape over which the weights sum to one; several are taken together.
    scale : float, optional
        Factor of the scores; 1/√n by default, n being the number of elements of a slice.
    mask : array_like or torch.Tensor, optional
        Broadcasts to the result. Boolean: True takes part. Otherwise it is added to the scores.
    out : numpy.ndarray or torch.Tensor, optional
        Where the result is written, of its shape and type: an array of its own, or `q`, `k` or `v`.
    return_weights : bool, default False
        Whether to return the weights `a` too.
    backend : {None, 'rust', 'torch', 'triton'}, optional
        For tensors: the Rust kernels (CPU only), PyTorch operations (any device) or fused Triton
        kernels (CUDA only). By default what `ewa_rs.backend_for` says; one that cannot run is an
        error. Arrays are always computed in Rust.

    Returns
    -------
    y : numpy.ndarray or torch.Tensor
        The output; differentiable in q, k, v and an additive mask if they are tensors.
    a : numpy.ndarray or torch.Tensor
        The weights, if `return_weights`.

    Raises
    ------
    TypeError
        For an element type that is not among those above, and for tensors mixed with arrays.
    ValueError
        For shapes that do not broadcast, an axis out of range, an `out` that does not fit.

    Notes
    -----
    A slice in which every score is −∞, such as one whose mask keeps nothing, has weights, output
    and gradients of zero. A NaN or +∞ among the scores of a slice makes that slice NaN, and no
    other.
    Weights below the smallest normal number of the type computed in are zero.

    The formula is our reading of the abstract of [1]_, whose full text could not be had.

    References
    ----------
    .. [1] G. Bacochina and R. de Souza, "Element-Wise Attention Layers: an option for
       optimization", arXiv 2302.05488, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ewa_rs import elementwise_attention
    >>> x = np.array([0.0, 1.0, 2.0])
    >>> elementwise_attention(x, x, np.ones(3), scale=1.0).round(3)
    array([0.017, 0.047, 0.936])
    """
    plain = type(q) is type(k) is type(v) is ndarray and (mask is None or type(mask) is ndarray)
    if not plain and are_tensors(q=q, k=k, v=v, mask=mask, out=out):
        from ewa_rs.ops.elementwise_attention.torch import OPERATOR

        return OPERATOR.call(
            (q, k, v),
            mask,
            axis,
            scale,
            out=out,
            return_weights=return_weights,
            backend=backend,
        )
    if backend is not None:
        check_array_backend(backend)
    return on_arrays((q, k, v), axis, scale, mask, out, return_weights)
