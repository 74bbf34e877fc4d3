"""The networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import nn

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])
_BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def register_model(build: Builder) -> Builder:
    """Enter a network under its function's name.

    The function takes ``(input_shape, num_classes, *, options…)`` and returns the module.
    """
    _BUILDERS[build.__name__] = build
    return build


def list_models() -> list[str]:
    """List the names that `create_model` knows.

    Examples
    --------
    >>> list_models()
    ['dot_product', 'ewa', 'ewa_net_l', 'ewa_net_m', 'ewa_net_s', 'linear', 'vgg_like']
    """
    return sorted(_BUILDERS)


def model_options(name: str) -> dict[str, Any]:
    """Return the options of a network, with their defaults.

    Raises
    ------
    ValueError
        If no network has this name.
    """
    if name not in _BUILDERS:
        raise ValueError(
            f"model: no network is called {name!r}; there are {', '.join(list_models())}"
        )
    parameters = inspect.signature(_BUILDERS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def create_model(
    name: str, *, input_shape: Sequence[int], num_classes: int, **options: Any
) -> nn.Module:
    """Build a network for images.

    Parameters
    ----------
    name
        One of `list_models`.
    input_shape
        ``(channels, height, width)`` of an image.
    num_classes
        How many numbers the network puts out for an image.
    **options
        The network's own options, see `model_options` and the function of that name.

    Returns
    -------
    torch.nn.Module
        Takes ``(batch, channels, height, width)``, returns ``(batch, num_classes)``.

    Raises
    ------
    ValueError
        For an unknown name or a shape that is none of an image.
    TypeError
        For an option that the network does not have.

    Examples
    --------
    >>> model = create_model("ewa", input_shape=(1, 28, 28), num_classes=10)
    >>> sum(p.numel() for p in model.parameters())
    12554
    """
    known = model_options(name)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(
            f"{name} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}"
        )
    shape = tuple(input_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_shape: expected (channels, height, width), got {shape}")
    if num_classes < 1:
        raise ValueError(f"num_classes: expected at least 1, got {num_classes}")
    return _BUILDERS[name](shape, num_classes, **options)
