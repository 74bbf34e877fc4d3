"""The networks `ewa` and `linear` on NumPy and the Rust kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ewa_rs.inference.classifier import Classifier
from ewa_rs.ops.elementwise_self_attention import elementwise_self_attention
from ewa_rs.utils.checkpoint_info import CheckpointInfo, damaged, read_safetensors

FloatArray = NDArray[np.float32]
Layer = Callable[[FloatArray], FloatArray]
MODELS = ("ewa", "linear")


def load_safetensors(path: Path) -> Classifier:
    """Read a checkpoint of `ewa` or `linear`."""
    metadata, tensors = read_safetensors(path, "np")
    info = CheckpointInfo.from_metadata(metadata, path, "safetensors")
    if info.model not in MODELS:
        raise ValueError(
            f"{path}: {info.model} needs PyTorch, or the ONNX file that `ewa export` makes; "
            f"NumPy and the Rust kernels run {' and '.join(MODELS)}"
        )
    try:
        layers = list(_build_layers(info, tensors))
        logits = _run(layers, np.zeros((1, *info.input_shape), np.float32))
        if logits.shape != (1, info.num_classes):
            raise ValueError(f"{logits.shape[1:]} outputs for {info.num_classes} classes")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(path, error) from error
    return Classifier(info, "rust", partial(_run, layers))


def _run(layers: Sequence[Layer], x: FloatArray) -> FloatArray:
    for layer in layers:
        x = layer(x)
    return x


def _build_layers(info: CheckpointInfo, tensors: dict[str, FloatArray]) -> Iterable[Layer]:
    """Yield the layers in the order of their numbers in the names of the tensors."""
    options = info.model_options
    modules: dict[int, dict[str, FloatArray]] = {}
    for name, tensor in tensors.items():
        number, _, kind = name.partition(".")
        modules.setdefault(int(number), {})[kind] = np.ascontiguousarray(tensor, np.float32)
    attentions = sum("w_q" in arrays for arrays in modules.values())
    if attentions != options.get("layers", 0):
        raise ValueError(f"{attentions} layers of attention, expected {options.get('layers', 0)}")
    dense = 0
    if info.model == "linear" and options["normalise"]:
        yield _normalise
    for _, arrays in sorted(modules.items()):
        if "w_q" in arrays:
            if options["normalise"]:
                yield _normalise
            yield _attention(arrays, options)
        else:
            dense += 1
            yield _dense(**arrays, relu=dense > 1)


def _attention(arrays: dict[str, FloatArray], options: dict[str, Any]) -> Layer:
    shape = arrays["w_q"].shape
    axis = -1 if options["axis"] is None else options["axis"]
    axes = tuple(a - len(shape) if a >= 0 else a for a in np.atleast_1d(axis).tolist())
    gain = options["gain"]
    if gain == "n":
        gain = np.prod([shape[a] for a in axes])
    for name in ("w_v", "b_v"):
        if gain is not None and name in arrays:
            arrays[name] = arrays[name] * np.float32(gain)
    residual = options["residual"]
    operands: dict[str, Any] = {**arrays}

    def attend(x: FloatArray) -> FloatArray:
        x = x.reshape(len(x), *shape)
        y: FloatArray = elementwise_self_attention(x, **operands, axis=axes)
        return y + x if residual else y

    return attend


def _dense(weight: FloatArray, bias: FloatArray, *, relu: bool) -> Layer:
    """Return ``relu(x) @ weight.T + bias``, or without ReLU, over each image as one vector."""

    def dense(x: FloatArray) -> FloatArray:
        x = x.reshape(len(x), -1)
        y: FloatArray = (np.maximum(x, 0) if relu else x) @ weight.T + bias
        return y

    return dense


def _normalise(x: FloatArray) -> FloatArray:
    """Zero mean and unit variance over each image, as torch's layer_norm has it."""
    flat = x.reshape(len(x), -1)
    n = np.float32(flat.shape[1])
    flat = flat - flat.sum(1, keepdims=True) / n  # ndarray.mean takes ten times as long as sum
    variance = np.einsum("ij,ij->i", flat, flat)[:, None] / n
    flat /= np.sqrt(variance + np.float32(1e-5))
    y: FloatArray = flat.reshape(x.shape)
    return y
