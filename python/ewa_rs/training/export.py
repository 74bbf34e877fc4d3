"""A checkpoint as an ONNX file that any runtime takes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ewa_rs.inference.onnx import INPUT, OUTPUT
from ewa_rs.nn.layer import ExportableLayer
from ewa_rs.training.checkpoint import load_checkpoint
from ewa_rs.utils.files import atomic_path

OPSETS = range(18, 24)


def export_onnx(checkpoint: str | Path, output: str | Path, *, opset: int = 18) -> Path:
    """Write the network of a checkpoint as ONNX, of standard operators only.

    The graph takes float32 ``images`` of any batch size, normalised, and returns ``logits``. The
    file's metadata hold what the checkpoint says: image shape, mean, std and class names.

    Parameters
    ----------
    checkpoint
        A safetensors file of a run.
    output
        The file to write, ``*.onnx``; its folder has to be there.
    opset
        Version of ONNX's operators, 18 to 23. Older runtimes may need the lowest.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        For another kind of file or opset, or a network that ONNX has no operators for.
    ImportError
        If onnx or onnxscript is not installed.
    """
    output = Path(output)
    if output.suffix != ".onnx":
        raise ValueError(f"output: expected a name that ends with .onnx, got {output}")
    if opset not in OPSETS:
        raise ValueError(f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    model, info = load_checkpoint(checkpoint)
    for module in model.modules():
        if isinstance(module, ExportableLayer):
            module.prepare_for_export()
    try:
        program = _to_onnx(model, info.input_shape, opset)
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{checkpoint}: {info.model} does not go into ONNX ({reason})") from error
    for node in program.model.graph:
        node.metadata_props.clear()  # traces of the stack, with the folders of this machine
    program.model.metadata_props.update(info.to_metadata())
    with atomic_path(output) as temporary:
        program.save(temporary, external_data=False)
    return output


def _to_onnx(model: nn.Module, input_shape: tuple[int, ...], opset: int) -> Any:
    example = torch.zeros(2, *input_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the insides of the exporter
        exported = torch.export.export(
            model,
            (example,),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            # Else a batch that may equal another size of the network counts as a special case.
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        # Core ATen: the exporter has no 3-d scaled_dot_product_attention of its own.
        return torch.onnx.export(
            exported.run_decompositions(),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=opset,
            verbose=False,
        )
