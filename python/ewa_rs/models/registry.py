"""The networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from ewa_rs.pretrained import pretrained_info, pretrained_path

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


def with_backend(name: str, options: Mapping[str, Any], backend: str | None) -> dict[str, Any]:
    """Return a network's options, and a backend where one is given to a network that has one."""
    takes = backend is not None and "backend" in model_options(name)
    return {**options, "backend": backend} if takes else dict(options)


def create_model(
    name: str,
    *,
    input_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    pretrained: str | None = None,
    **options: Any,
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
    pretrained
        The data set whose trained weights to load, see `ewa_rs.pretrained.list_pretrained`; shape
        and classes need not be given then. What the weights expect of images, their pixels' mean
        and std among it, is in `ewa_rs.pretrained.pretrained_info`.
    **options
        The network's own options, see `model_options` and the function of that name.

    Returns
    -------
    torch.nn.Module
        Takes ``(batch, channels, height, width)``, returns ``(batch, num_classes)``.

    Raises
    ------
    ValueError
        For an unknown name, a shape that is none of an image, or weights that do not fit.
    TypeError
        For an option that the network does not have, one that is not true or false where it has to
        be, or without a shape or classes.

    Examples
    --------
    >>> model = create_model("ewa", input_shape=(1, 28, 28), num_classes=10)
    >>> sum(p.numel() for p in model.parameters())
    12554
    >>> model = create_model("ewa_net_s", pretrained="fashion-mnist")
    """
    if pretrained is not None:
        return _load(name, pretrained, input_shape, num_classes, options)
    if input_shape is None or num_classes is None:
        raise TypeError("create_model needs input_shape and num_classes, or pretrained")
    known = model_options(name)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(
            f"{name} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}"
        )
    for option, value in options.items():
        if isinstance(known[option], bool) and not isinstance(value, bool):
            raise TypeError(f"{option}: expected true or false, got {value!r}")
    shape = tuple(input_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_shape: expected (channels, height, width), got {shape}")
    if num_classes < 1:
        raise ValueError(f"num_classes: expected at least 1, got {num_classes}")
    return _BUILDERS[name](shape, num_classes, **options)


def _load(
    name: str,
    data: str,
    input_shape: Sequence[int] | None,
    num_classes: int | None,
    options: dict[str, Any],
) -> nn.Module:
    """Build a network with the weights that come with the package."""
    from safetensors.torch import load_file

    path, info = pretrained_path(name, data), pretrained_info(name, data)
    model = create_model(
        name,
        input_shape=input_shape or info.input_shape,
        num_classes=num_classes or info.num_classes,
        **info.model_options | options,
    )
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise ValueError(
            f"pretrained: the weights for {data} are of {info.input_shape[0]} channels, "
            f"{info.num_classes} classes and options {info.model_options}, not as asked for"
        ) from error
    return model
