"""Data, the training loop, checkpoints, and the comparison of networks."""
