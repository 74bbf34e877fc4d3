"""Element-wise self-attention on torch tensors."""
