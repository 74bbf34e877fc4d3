"""Autograd for calls on plain tensors, whose memory the kernels look into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import _SingleLevelFunction

from ewa_rs._core import EagerCall
from ewa_rs.ops._implementation import Registered
from ewa_rs.ops._registration.autograd import gradients
from ewa_rs.ops._rust import is_eager


class Eager(_SingleLevelFunction):
    """A call that is Rust's from the checks on. It keeps what its backward needs but the inputs."""

    @staticmethod
    def forward(ctx: Any, registered: Registered, call: EagerCall, *inputs: Tensor | None) -> Any:
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        ctx.registered, ctx.call = registered, call
        return call.forward(inputs)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor | None, grad_a: Tensor | None = None) -> Any:
        call, inputs, wanted = ctx.call, ctx.saved_tensors, ctx.needs_input_grad
        found = call.backward(inputs, wanted, grad_y, grad_a)
        if found is None:  # not as plain as the inputs were
            upstream, saved = (grad_y, grad_a), (call.statistics(),)
            given = gradients(ctx.registered, inputs, call.settings, upstream, saved, wanted[2:])
            found = None, None, *given
        return found


class Launched(_SingleLevelFunction):
    """A call of kernels in Rust or Triton. It saves the inputs and the outputs that say so."""

    @staticmethod
    def forward(ctx: Any, launch: Sequence[Any], *inputs: Tensor | None) -> Any:
        registered, kernels, settings, requests = launch
        outputs = kernels.forward(inputs, settings, requests)
        definition = registered.implementation.definition
        named = zip(definition.outputs, outputs, strict=True)
        ctx.save_for_backward(*inputs, *(t for output, t in named if output.saved))
        ctx.set_materialize_grads(False)
        ctx.launch = launch
        return tuple(outputs[: len(definition.differentiable)])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        registered, kernels, settings, _ = ctx.launch
        count = len(registered.implementation.definition.inputs)
        inputs, saved = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        wanted = ctx.needs_input_grad[1:]
        if upstream[0] is not None and not torch.is_grad_enabled() and is_eager(upstream):
            found = kernels.backward(inputs, settings, upstream, saved, wanted)
        else:
            found = gradients(registered, inputs, settings, upstream, saved, wanted)
        return None, *found
