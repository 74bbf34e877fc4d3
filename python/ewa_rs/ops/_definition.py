"""The table of ops, which stands in Rust: what each takes and gives, and what follows from that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ewa_rs._core as core


class Definition:
    """An op: its inputs, settings and outputs, in the order that all who call it keep to.

    Attributes
    ----------
    names, operands, required
        Names of all inputs; of those that have the result's type, which all but the mask do; and
        of those that are in every call, which come first.
    requests
        The settings that ask for outputs; they come behind the others.
    differentiable, saved
        The outputs that have gradients, which come first, and those that the backward takes.
    """

    def __init__(self, op: core.Definition) -> None:
        self.name, self.eager = op.name, op.eager
        self.inputs, self.settings, self.outputs = op.inputs, op.settings, op.outputs
        self.names = tuple(given.name for given in op.inputs)
        self.operands = tuple(given.name for given in op.inputs if not given.is_mask)
        self.required = tuple(given.name for given in op.inputs if not given.optional)
        self.requests = tuple(o.requested_by for o in op.outputs if o.requested_by is not None)
        self.differentiable = tuple(o for o in op.outputs if o.gradient is not None)
        self.saved = tuple(o for o in op.outputs if o.saved)

    @property
    def schema(self) -> str:
        """What torch.library is told of the op."""
        arguments = [*self._shared_arguments, *(f"bool {name}" for name in self.requests)]
        outputs = ", ".join(f"Tensor {output.name}" for output in self.outputs)
        outputs = f"({outputs})" if len(self.outputs) > 1 else "Tensor"
        return f"{self.name}({', '.join(arguments)}) -> {outputs}"

    @property
    def backward_schema(self) -> str:
        """What torch.library is told of the op that gives the wanted gradients of the inputs."""
        gradients = [
            f"{_tensor(o.requested_by is not None)} {o.gradient}" for o in self.differentiable
        ]
        saved = [f"Tensor {output.name}" for output in self.saved]
        arguments = [*self._shared_arguments, *gradients, *saved, "bool[] wanted"]
        return f"{self.name}_backward({', '.join(arguments)}) -> Tensor[]"

    @property
    def _shared_arguments(self) -> list[str]:
        inputs = [f"{_tensor(given.optional)} {given.name}" for given in self.inputs]
        return inputs + [f"{setting.schema} {setting.name}" for setting in self.settings]

    def split(self, arguments: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Split the arguments of a registered op into inputs, settings and the rest."""
        first, second = len(self.inputs), len(self.inputs) + len(self.settings)
        return arguments[:first], arguments[first:second], arguments[second:]

    def split_rest(self, rest: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Split the rest of a backward's arguments: gradients, what was saved, and `wanted`."""
        count = len(self.differentiable)
        return rest[:count], rest[count:-1], rest[-1]

    def given(self, requests: Sequence[bool]) -> list[bool]:
        """Say of each output whether it is given, if these are asked for."""
        flags = iter(requests)
        return [output.requested_by is None or next(flags) for output in self.outputs]


def _tensor(optional: bool) -> str:
    return "Tensor?" if optional else "Tensor"


DEFINITIONS = {op.name: Definition(op) for op in core.OPS}
