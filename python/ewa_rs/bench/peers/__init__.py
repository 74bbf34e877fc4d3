"""What the ops are measured against, a file for each library.

A peer's module has functions ``forward`` and ``training`` (or only the first) that take a
`ewa_rs.bench.cases.Problem` and return a `Runner`, or raise `NotForThis` with the reason.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from types import ModuleType

from ewa_rs.bench.cases import Problem
from ewa_rs.bench.peers.runner import NotForThis, Runner


@dataclass(frozen=True)
class Peer:
    """A library, the distribution that it comes in, and its module here."""

    name: str
    distribution: str
    module: str
    requires: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The modules it needs that are not installed."""
        return [name for name in self.requires if importlib.util.find_spec(name) is None]

    @property
    def version(self) -> str:
        """Of the distribution."""
        return importlib.metadata.version(self.distribution)

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(f"ewa_rs.bench.peers.{self.module}")

    def runner(self, direction: str, problem: Problem) -> Runner:
        """Return the contestant; NotForThis if it has none."""
        make = getattr(self.load(), direction, None)
        if make is None:
            raise NotForThis("forward only")
        runner: Runner = make(problem)
        return runner


PEERS = (
    Peer("NumPy", "numpy", "numpy_peer"),
    Peer("SciPy", "scipy", "scipy_peer", ("scipy",)),
    Peer("Numba", "numba", "numba_peer", ("numba",)),
    Peer("JAX", "jax", "jax_peer", ("jax",)),
    Peer("PyTorch eager", "torch", "torch_peer", ("torch",)),
    Peer("torch.compile", "torch", "compile_peer", ("torch",)),
    Peer("ONNX Runtime", "onnxruntime", "onnx_peer", ("onnxruntime", "onnx")),
)
