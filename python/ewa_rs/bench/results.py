"""What a benchmark's results.json holds, and what tables, plot and display take from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ewa_rs.bench.peers import PEERS

Line = dict[str, Any]
TITLES = {"forward": "Forward", "out": "Forward into `out`", "training": "Forward and backward"}
SHORT = {"PyTorch eager": "eager", "torch.compile": "compile", "ONNX Runtime": "ONNX RT"}


def peers_of(results: dict[str, Any]) -> list[str]:
    """Return the peers with a figure, in the order of the registry."""
    found = {peer for line in results["lines"] for peer in line.get("ratios", ())}
    return [peer.name for peer in PEERS if peer.name in found]


def threads_of(results: dict[str, Any]) -> list[int]:
    """Return the numbers of threads."""
    return sorted({line["threads"] for line in results["lines"]})


def lines_of(results: dict[str, Any], direction: str, threads: int) -> list[Line]:
    """Return what was measured in one direction with so many threads."""
    return [
        line
        for line in results["lines"]
        if line["direction"] == direction and line["threads"] == threads
    ]


def medians(lines: Iterable[Line], peer: str) -> list[float]:
    """Return the ratios to a peer, or to the ``best`` of each line, where there are any."""
    ratios = [line["ratios"] for line in lines if line.get("ratios")]
    if peer == "best":
        return [min(ratio["median"] for ratio in each.values()) for each in ratios]
    return [each[peer]["median"] for each in ratios if peer in each]


def label_of(line: Line) -> str:
    """Return the case, with its dtype if that is not float32."""
    return line["name"] if line["dtype"] == "float32" else f"{line['name']} {line['dtype']}"


def thread_text(count: int) -> str:
    """Return a number of threads in words."""
    return "1 thread" if count == 1 else f"{count} threads"


def three_digits(value: float | None) -> str:
    """Return three digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
