"""The element-wise self-attention layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ewa_rs.ops.elementwise_self_attention import elementwise_self_attention


class ElementwiseSelfAttention(nn.Module):
    """Element-wise self-attention with learned arrays of the feature shape."""

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
        shape = (feature_shape,) if isinstance(feature_shape, int) else tuple(feature_shape)
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
        self.feature_shape = shape
        self.axis = tuple(a if a < 0 else a - len(shape) for a in axes)
        self.scale = scale
        self.residual = residual
        self.gain = gain
        self.backend = backend
        for name in ("w_q", "w_k", "w_v"):
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        for name in ("b_q", "b_k", "b_v"):
            value = nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw w_q and w_k from a standard normal; w_v starts at one, biases at zero."""
        nn.init.normal_(self.w_q)
        nn.init.normal_(self.w_k)
        nn.init.ones_(self.w_v)
        for bias in (self.b_q, self.b_k, self.b_v):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        gain = 1.0 if self.gain is None else self.gain
        y = elementwise_self_attention(
            x, self.w_q, self.w_k, self.w_v * gain,
            b_q=self.b_q, b_k=self.b_k, b_v=None if self.b_v is None else self.b_v * gain,
            axis=self.axis, scale=self.scale, backend=self.backend,
        )
        return x + y if self.residual else y
