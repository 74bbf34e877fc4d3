"""What autocast makes of a registered op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._C import DispatchKey

from ewa_rs.ops._arguments import common_dtype
from ewa_rs.ops._implementation import Registered
from ewa_rs.ops._registration.library import LIBRARY


def implement(registered: Registered) -> None:
    """Register the rule for each kind of device, which has a key of its own."""
    for device in ("CPU", "CUDA", "XPU", "MPS"):
        key = f"Autocast{device}"
        LIBRARY.impl(registered.op, _rule(registered, getattr(DispatchKey, key)), key)


def _rule(registered: Registered, key: DispatchKey) -> Callable[..., Any]:
    definition = registered.implementation.definition
    operands = len(definition.operands)  # a mask, which comes behind them, may be boolean

    def cast(*arguments: Any) -> Any:
        """Cast the inputs to the type of autocast, except with one in float64."""
        inputs, settings, rest = definition.split(arguments)
        dtype = common_dtype([t for t in inputs[:operands] if t is not None])
        inputs = [t if t is None or t.dtype == torch.bool else t.to(dtype) for t in inputs]
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
            return registered.op(*inputs, *settings, *rest)

    return cast
