"""Networks in ONNX files, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ewa_rs._core import get_num_threads
from ewa_rs.inference.classifier import Classifier
from ewa_rs.utils.checkpoint_info import CheckpointInfo

INPUT, OUTPUT = "images", "logits"


def load_onnx(path: Path) -> Classifier:
    """Read a file that `ewa export` wrote."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"{path}: onnxruntime is not installed") from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = get_num_threads()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no public base class
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: no ONNX model, or a damaged one ({reason})") from error
    metadata = session.get_modelmeta().custom_metadata_map
    info = CheckpointInfo.from_metadata(metadata, path, "ONNX")

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run([OUTPUT], {INPUT: x})[0]
        return logits

    return Classifier(info, "onnxruntime", run)
