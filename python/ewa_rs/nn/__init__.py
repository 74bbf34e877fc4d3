"""PyTorch modules, one for each op and with its name."""

from ewa_rs.nn.elementwise_attention_pool2d import ElementwiseAttentionPool2d
from ewa_rs.nn.elementwise_self_attention import ElementwiseSelfAttention

__all__ = ["ElementwiseAttentionPool2d", "ElementwiseSelfAttention"]
