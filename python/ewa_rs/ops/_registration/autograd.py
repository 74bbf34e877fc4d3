"""The derivatives of the registered ops: of any order, in reverse and in forward mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._functorch.autograd_function import (  # type: ignore[attr-defined]
    enable_single_level_autograd_function,
)
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from ewa_rs.ops._backends import choose_backend
from ewa_rs.ops._implementation import Registered
from ewa_rs.ops._rust import is_eager

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


def forward(registered: Registered, composite: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of an op: it remembers what the backward needs."""
    split = registered.implementation.definition.split

    def rule(keyset: Any, *arguments: Any) -> Any:
        inputs, settings, requests = split(arguments)
        if _have_tangents(inputs):
            return composite(*arguments)
        if _want_gradients(inputs):
            with enable_single_level_autograd_function():  # this level's; the dispatcher has others
                return Traced.apply(  # type: ignore[attr-defined]
                    registered, keyset, settings, requests, *inputs
                )
        return _below_autograd(registered.op, keyset, arguments)

    return rule


def backward(registered: Registered, composite: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a backward: derivatives of derivatives are those of the formula."""

    def rule(keyset: Any, *arguments: Any) -> Any:
        tensors = [t for t in arguments if isinstance(t, Tensor)]
        if _have_tangents(tensors) or _want_gradients(tensors):
            return composite(*arguments)
        return _below_autograd(registered.op_backward, keyset, arguments)

    return rule


class Traced(_SingleLevelFunction):
    """A call through the dispatcher, which may be one of several levels of transforms."""

    @staticmethod
    def forward(
        ctx: Any, registered: Registered, keyset: Any, settings: Any, requests: Any, *inputs: Any
    ) -> Any:
        definition = registered.implementation.definition
        # A Function's forward runs without gradients, which the levels below may want.
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
            outputs = _below_autograd(registered.op, keyset, (*inputs, *settings, *requests))
        listed = (outputs,) if isinstance(outputs, Tensor) else outputs
        named = list(zip(definition.outputs, definition.given(requests), listed, strict=True))
        ctx.save_for_backward(*inputs, *(t for output, _, t in named if output.saved))
        ctx.mark_non_differentiable(
            *(t for output, given, t in named if output.gradient is None or not given)
        )
        ctx.set_materialize_grads(False)
        ctx.registered, ctx.settings = registered, settings
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        definition = ctx.registered.implementation.definition
        count = len(definition.inputs)
        inputs, saved = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        upstream = grads[: len(definition.differentiable)]
        wanted = ctx.needs_input_grad[4:]
        found = gradients(ctx.registered, inputs, ctx.settings, upstream, saved, wanted)
        return None, None, None, None, *found


def gradients(
    registered: Registered,
    inputs: Tensors,
    settings: Sequence[Any],
    upstream: Tensors,
    saved: Sequence[Tensor],
    wanted: Sequence[bool],
) -> Sequence[Tensor | None]:
    """Give the gradients of the inputs that want one, by kernels or by the registered backward."""
    if all(t is None for t in upstream):
        return [None] * len(inputs)
    implementation = registered.implementation
    upstream = _completed(registered, inputs, settings, upstream)
    like: Any = upstream[0]
    kernels = implementation.kernels(choose_backend(None, like))
    plain = kernels is not None and not torch.is_grad_enabled()
    if plain and is_eager((*inputs, *upstream)):
        found = kernels.backward(inputs, settings, upstream, saved, wanted)
        return found  # type: ignore[no-any-return]
    wanted = [want and t is not None for t, want in zip(inputs, wanted, strict=True)]
    given = iter(registered.op_backward(*inputs, *settings, *upstream, *saved, wanted))
    return [next(given) if want else None for want in wanted]


def _completed(
    registered: Registered, inputs: Tensors, settings: Sequence[Any], upstream: Tensors
) -> list[Tensor | None]:
    """Put zeros in place of gradients that did not come, of outputs that are always given."""
    completed = list(upstream)
    implementation = registered.implementation
    for i, output in enumerate(implementation.definition.differentiable):
        if completed[i] is None and output.requested_by is None:
            empty = implementation.empty_output(output.name, inputs, settings)
            completed[i] = torch.zeros_like(empty)
    return completed


def _below_autograd(op: Any, keyset: Any, arguments: Sequence[Any]) -> Any:
    """Call what is registered below autograd."""
    with torch._C._AutoDispatchBelowAutograd():
        return op.redispatch(keyset & torch._C._after_autograd_keyset, *arguments)


def _want_gradients(tensors: Tensors) -> bool:
    """Whether autograd is to remember a call with these tensors."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _have_tangents(tensors: Tensors) -> bool:
    """Whether one of the tensors has a forward-mode derivative."""
    level = forward_ad._current_level
    if level < 0:
        return False
    return any(t is not None and torch._unpack_dual(t, level=level)[1] is not None for t in tensors)
