"""Element-wise self-attention: element-wise attention of x∘w_q, x∘w_k and x∘w_v, fused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy import ndarray

from ewa_rs._core import elementwise_self_attention as on_arrays
from ewa_rs.ops._arguments import are_tensors, check_array_backend

if TYPE_CHECKING:
    from collections.abc import Sequence


def elementwise_self_attention(
    x: Any,
    w_q: Any,
    w_k: Any,
    w_v: Any,
    *,
    b_q: Any = None,
    b_k: Any = None,
    b_v: Any = None,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: Any = None,
    out: Any = None,
    return_weights: bool = False,
    backend: str | None = None,
) -> Any:
    """Element-wise attention of an array with itself, projected by arrays.

    ::

        q = x ∘ w_q [+ b_q]     k = x ∘ w_k [+ b_k]     v = x ∘ w_v [+ b_v]
        y = softmax(scale · q∘k [+ mask]) ∘ v            over axis

    A projection by an array is one by a matrix of which only the diagonal is kept: d features need
    3·d parameters where dot-product attention has 3·d². In Rust, x is read once and the output
    written once; the backward computes q, k, v and the weights anew rather than storing them.

    Parameters
    ----------
    x : array_like or torch.Tensor
        The input, of float16, bfloat16, float32 or float64.
    w_q, w_k, w_v : array_like or torch.Tensor
        Arrays that broadcast against x, usually of the shape of its features.
    b_q, b_k, b_v : array_like or torch.Tensor, optional
        Biases of the same kind.
    axis, scale, mask, out, return_weights, backend
        As for `ewa_rs.elementwise_attention`; `out` may be x itself.

    Returns
    -------
    y : numpy.ndarray or torch.Tensor
        The output; differentiable in x, the arrays and an additive mask if they are tensors.
    a : numpy.ndarray or torch.Tensor
        The weights, if `return_weights`.

    Raises
    ------
    TypeError, ValueError
        As for `ewa_rs.elementwise_attention`.

    Notes
    -----
    Our reading of the abstract of arXiv 2302.05488 (Bacochina and de Souza, 2023); the full text
    could not be had. The rules for masks, infinities and NaN are those of
    `ewa_rs.elementwise_attention`.

    Examples
    --------
    >>> import numpy as np
    >>> from ewa_rs import elementwise_self_attention
    >>> x = np.array([[0.0, 1.0, 2.0]])
    >>> w = np.ones(3)
    >>> elementwise_self_attention(x, w, w, w, scale=1.0).round(3)
    array([[0.   , 0.047, 1.872]])
    """
    operands = (x, w_q, w_k, w_v, b_q, b_k, b_v)
    plain = type(x) is ndarray and all(type(a) in (ndarray, type(None)) for a in (*operands, mask))
    if not plain and are_tensors(
        x=x, w_q=w_q, w_k=w_k, w_v=w_v, b_q=b_q, b_k=b_k, b_v=b_v, mask=mask, out=out
    ):
        from ewa_rs.ops.elementwise_self_attention.torch import OPERATOR

        return OPERATOR.call(
            operands, mask, axis, scale, out=out, return_weights=return_weights, backend=backend
        )
    if backend is not None:
        check_array_backend(backend)
    return on_arrays(operands, axis, scale, mask, out, return_weights)
