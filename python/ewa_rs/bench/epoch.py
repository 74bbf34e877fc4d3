"""Steps of an epoch of the network `ewa` on images of the shape of Fashion-MNIST's.

The images are random numbers: what a step costs does not depend on them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ewa_rs.bench.measure import Call
from ewa_rs.models import create_model
from ewa_rs.nn import ElementwiseSelfAttention
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.data.batches import Normaliser
from ewa_rs.training.optimizer import make_optimizer

_BATCH = 128
_STEPS = 5


class EagerSelfAttention(nn.Module):
    """The layer in PyTorch's own operations, as one would write it down."""

    def __init__(self, layer: ElementwiseSelfAttention) -> None:
        super().__init__()
        self.layer = layer
        n = math.prod(layer.feature_shape[axis] for axis in layer.axis)
        self.scale = n**-0.5 if layer.scale is None else layer.scale

    def forward(self, x: Tensor) -> Tensor:
        """Return the output."""
        layer = self.layer
        pairs = ((layer.w_q, layer.b_q), (layer.w_k, layer.b_k), (layer.w_v, layer.b_v))
        q, k, v = (x * w if b is None else x * w + b for w, b in pairs)
        y = torch.softmax(q * k * self.scale, layer.axis[0]) * v
        if layer.gain is not None:
            y = y * layer.gain
        return y + x if layer.residual else y


def network(kind: str) -> nn.Module:
    """Return the network, its attention by the kernels or in PyTorch's operations."""
    torch.manual_seed(0)
    model = create_model("ewa", input_shape=(1, 28, 28), num_classes=10)
    if kind != "ewa":
        for name, module in list(model.named_children()):
            if isinstance(module, ElementwiseSelfAttention):
                setattr(model, name, EagerSelfAttention(module))
    return model


def steps(kind: str) -> Call:
    """Return a function that makes some training steps."""
    model = network(kind)
    optimizer = make_optimizer(model, TrainConfig(model="ewa"))
    forward = torch.compile(model) if kind == "torch.compile" else model
    normalise = Normaliser((0.286,), (0.353,))
    images = torch.randint(256, (_STEPS, _BATCH, 1, 28, 28), dtype=torch.uint8)
    labels = torch.randint(10, (_STEPS, _BATCH))

    def call() -> None:
        for batch, wanted in zip(images, labels, strict=True):
            loss = F.cross_entropy(forward(normalise(batch)), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return call


def training_steps() -> dict[str, Call]:
    """Return the contestants."""
    return {kind: steps(kind) for kind in ("ewa", "PyTorch eager", "torch.compile")}
