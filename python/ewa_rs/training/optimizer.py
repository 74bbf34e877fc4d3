"""AdamW or SGD, with weight decay on matrices alone."""

from __future__ import annotations

import torch
from torch import nn

from ewa_rs.training.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Build the optimizer of a run.

    Weight decay is for matrices and kernels: parameters called ``weight`` with two axes or more.
    Biases, batch norm and the arrays of element-wise attention go without.
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = name.rpartition(".")[2] == "weight" and parameter.ndim >= 2
        (decayed if is_matrix else others).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)
