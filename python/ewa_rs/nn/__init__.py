"""PyTorch modules, one for each op and with its name."""

import ewa_rs.ops.torch  # noqa: F401  every op is registered, also those that no layer has
from ewa_rs.nn.elementwise_attention_pool2d import ElementwiseAttentionPool2d
from ewa_rs.nn.elementwise_self_attention import ElementwiseSelfAttention
from ewa_rs.nn.layer import AttentionLayer, ExportableLayer

__all__ = [
    "AttentionLayer",
    "ElementwiseAttentionPool2d",
    "ElementwiseSelfAttention",
    "ExportableLayer",
]
