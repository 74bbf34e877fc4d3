"""Trained networks without PyTorch: ONNX files, and checkpoints on the Rust kernels."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ewa_rs.inference.classifier import Classifier
from ewa_rs.utils.checkpoint_info import CheckpointInfo

__all__ = ["CheckpointInfo", "Classifier", "load", "load_where"]


def load(path: str | Path) -> Classifier:
    """Load a trained network; PyTorch is not needed and not imported.

    Parameters
    ----------
    path
        An ONNX file that ``ewa export`` wrote, of any network, which onnxruntime runs; or a
        safetensors file of ``ewa train``, of `ewa` or `linear`, which NumPy and the Rust kernels
        run.

    Returns
    -------
    Classifier
        Has ``logits(images)`` for arrays of pixels and ``predict(files)`` for image files.

    Raises
    ------
    ValueError
        If the file is damaged, of another program, or of a network that it takes PyTorch to run.
    ImportError
        If onnxruntime or safetensors is not installed.

    Examples
    --------
    >>> from ewa_rs.inference import load
    >>> classifier = load("runs/digits/last.safetensors")  # doctest: +SKIP
    >>> classifier.predict(["seven.png"])[0]["class"]  # doctest: +SKIP
    '7'
    """
    path = Path(path)
    if path.suffix == ".onnx":
        from ewa_rs.inference.onnx import load_onnx

        return load_onnx(path)
    from ewa_rs.inference.rust import load_safetensors

    return load_safetensors(path)


def load_where(path: str | Path, device: str = "auto") -> Classifier:
    """Load a trained network to run on a device: checkpoints by PyTorch where that is installed.

    Parameters
    ----------
    path
        As for `load`, but of any network where there is PyTorch.
    device
        ``auto``, ``cpu``, or with PyTorch ``cuda`` or ``cuda:i``.

    Raises
    ------
    ValueError, ImportError
        As for `load`; or for another device than the CPU where only PyTorch has it.
    """
    if Path(path).suffix != ".onnx" and find_spec("torch") is not None:
        from ewa_rs.inference.torch import load_classifier

        return load_classifier(path, device=device)
    if device not in ("auto", "cpu"):
        raise ValueError(f"device: {path} runs on the CPU without PyTorch, got {device!r}")
    return load(path)
