"""Registration of the ops with torch.library, for everything that is not a plain eager call.

`ewa_rs::NAME(inputs…, settings…, requests…) -> outputs` and `ewa_rs::NAME_backward(inputs…,
settings…, gradients of the outputs…, saved outputs…, wanted)`, which gives the gradients of the
wanted inputs: `Definition` has the schemas. Axes count from the front, a scale of None is 1/√n, and
outputs that are not asked for are empty tensors.
"""

from __future__ import annotations

from ewa_rs.ops._implementation import Implementation, Registered
from ewa_rs.ops._registration import autocast, autograd, rules, vmap
from ewa_rs.ops._registration.library import define, implement


def register(implementation: Implementation) -> Registered:
    """Register an op and its backward."""
    definition = implementation.definition
    op, op_backward = define(definition.schema), define(definition.backward_schema)
    registered = Registered(implementation, op, op_backward)
    forward, backward = rules.Forward(implementation), rules.Backward(implementation)
    implement(
        op, forward, autograd.forward(registered, forward.composite), vmap.forward(registered)
    )
    implement(
        op_backward,
        backward,
        autograd.backward(registered, backward.composite),
        vmap.backward(registered),
    )
    autocast.implement(registered)
    return registered
