"""Element-wise self-attention (placeholder until the compiled module is there)."""

from ewa_rs.ops.elementwise_attention import elementwise_attention


def elementwise_self_attention(x, w_q, w_k, w_v, *, b_q=None, b_k=None, b_v=None, axis=-1, scale=None,
                               mask=None, out=None, return_weights=False, backend=None):
    q, k, v = (x * w if b is None else x * w + b for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
    return elementwise_attention(q, k, v, axis=axis, scale=scale, mask=mask, return_weights=return_weights)
