"""The element-wise self-attention layer."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ewa_rs.ops import _arguments
from ewa_rs.ops._backends import check_backend
from ewa_rs.ops.elementwise_self_attention.torch import OPERATOR


class ElementwiseSelfAttention(nn.Module):
    r"""Element-wise self-attention with learned arrays of the shape of the features.

    ::

        q = x ∘ w_q [+ b_q]     k = x ∘ w_k [+ b_k]     v = x ∘ w_v [+ b_v]
        y = gain · softmax(scale · q∘k) ∘ v  [+ x]       over axis

    It has 3·d parameters for d features (6·d with biases), where dot-product attention has 3·d².
    This is our reading of the abstract of arXiv 2302.05488 (Bacochina and de Souza, 2023), whose
    full text could not be had; what the abstract leaves open is an argument here.

    Parameters
    ----------
    feature_shape : int or sequence of int
        The input's last dimensions, such as 784 or (3, 32, 32).
    axis : int or tuple of int, default -1
        The axes of `feature_shape` over which the weights sum to one.
    scale : float, optional
        Factor of the scores; 1/√n by default, n being the number of elements of a slice.
    bias : bool, default False
        Whether q, k and v have biases.
    residual : bool, default False
        Whether the input is added to the output.
    gain : float, optional
        Factor of the attention's output. Weights over n elements are of order 1/n: a gain of n
        makes up for it.
    backend : {None, 'rust', 'torch', 'triton'}, optional
        As for `ewa_rs.elementwise_attention`.
    device, dtype : optional
        Of the parameters.

    Raises
    ------
    ValueError
        If the shape or an axis is not valid, or the input does not end with `feature_shape`.

    Examples
    --------
    >>> import torch
    >>> from ewa_rs.nn import ElementwiseSelfAttention
    >>> layer = ElementwiseSelfAttention(784, residual=True, gain=784.0)
    >>> layer(torch.rand(8, 784)).shape
    torch.Size([8, 784])
    >>> sum(p.numel() for p in layer.parameters())
    2352
    """

    b_q: Tensor | None
    b_k: Tensor | None
    b_v: Tensor | None

    def __init__(
        self,
        feature_shape: int | Sequence[int],
        *,
        axis: int | Sequence[int] = -1,
        scale: float | None = None,
        bias: bool = False,
        residual: bool = False,
        gain: float | None = None,
        backend: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.feature_shape = _checked_shape(feature_shape)
        axes = tuple(axis) if isinstance(axis, list) else axis
        ndim = len(self.feature_shape)
        self.axis = tuple(d - ndim for d in _arguments.normalize_axes(axes, self.feature_shape))
        self.scale = scale
        self.residual = residual
        self.gain = gain
        check_backend(backend)
        self.backend = backend
        self.w_q = nn.Parameter(torch.empty(self.feature_shape, device=device, dtype=dtype))
        self.w_k = nn.Parameter(torch.empty_like(self.w_q))
        self.w_v = nn.Parameter(torch.empty_like(self.w_q))
        for name in ("b_q", "b_k", "b_v"):
            self.register_parameter(
                name, nn.Parameter(torch.empty_like(self.w_q)) if bias else None
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw w_q and w_k from a standard normal; w_v starts at one, biases at zero.

        Equal w_q and w_k would have equal gradients and stay equal.
        """
        nn.init.normal_(self.w_q)
        nn.init.normal_(self.w_k)
        nn.init.ones_(self.w_v)
        for bias in (self.b_q, self.b_k, self.b_v):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, of the shape of `x`, which ends with `feature_shape`."""
        return cast(Tensor, self._attend(x, return_weights=False))

    def attention_weights(self, x: Tensor) -> Tensor:
        """Return the weights that `forward` gives the elements of `x`."""
        return self._attend(x, return_weights=True)[1]

    def _attend(self, x: Tensor, *, return_weights: bool) -> Tensor | tuple[Tensor, Tensor]:
        ndim = len(self.feature_shape)
        if x.ndim < ndim or tuple(x.shape[x.ndim - ndim :]) != self.feature_shape:
            raise ValueError(
                f"x: expected a shape that ends with {self.feature_shape}, got {tuple(x.shape)}"
            )
        # The gain is folded into the values' projection: a product of the parameters' size.
        w_v: Tensor = self.w_v
        b_v = self.b_v
        if self.gain is not None:
            w_v, b_v = w_v * self.gain, None if b_v is None else b_v * self.gain
        found = OPERATOR.call(
            (x, self.w_q, self.w_k, w_v, self.b_q, self.b_k, b_v),
            None,
            self.axis,
            self.scale,
            residual=self.residual,
            return_weights=return_weights,
            backend=self.backend,
        )
        return cast("Tensor | tuple[Tensor, Tensor]", found)

    def prepare_for_export(self) -> None:
        """Compute by PyTorch's own operations: other runtimes have no kernels of this package."""
        self.backend = "torch"

    def extra_repr(self) -> str:
        """Return the settings that differ from the defaults."""
        shown = [f"{self.feature_shape}", f"axis={self.axis}"]
        settings = {"scale": self.scale, "gain": self.gain, "backend": self.backend}
        shown += [f"{name}={value!r}" for name, value in settings.items() if value is not None]
        shown += ["bias=True"] if self.b_q is not None else []
        shown += ["residual=True"] if self.residual else []
        return ", ".join(shown)


def _checked_shape(feature_shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = feature_shape if isinstance(feature_shape, Sequence) else (feature_shape,)
    try:
        shape = tuple(operator.index(size) for size in sizes)
    except TypeError:
        shape = ()
    if not shape or any(size < 1 for size in shape):
        raise ValueError(
            f"feature_shape: expected a positive int or a sequence of them, got {feature_shape!r}"
        )
    return shape
