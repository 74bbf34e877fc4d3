"""What networks cost beside parameters: arithmetic, memory, size on disk, time.

    python benchmarks/costs.py --output results/ewa_net/costs

writes costs.json and, as tables, costs.md. Networks take turns on one thread, in float32 and
channels-last, so that what else the machine does hits all of them; times are medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import ewa_rs
from ewa_rs.bench.measure import Call, interleave
from ewa_rs.models import create_model
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.environment import environment
from ewa_rs.training.optimizer import make_optimizer
from ewa_rs.training.report.summary import versions_text
from ewa_rs.utils.files import write_json, write_text

BATCH = 256
SHAPES = {"Fashion-MNIST, 1×28×28": (1, 28, 28), "CIFAR-10, 3×32×32": (3, 32, 32)}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "vgg_like": ("vgg_like", {}),
    "vgg_like, attention pooling": ("vgg_like", {"pool": "attention"}),
    "ewa_net_l": ("ewa_net_l", {}),
    "ewa_net_l, excitation": ("ewa_net_l", {"excitation": True}),
    "ewa_net_m": ("ewa_net_m", {}),
    "ewa_net_s": ("ewa_net_s", {}),
    "ewa_net_s, attention in PyTorch eager": ("ewa_net_s", {"backend": "torch"}),
    "ewa_net_s, plain pooling": ("ewa_net_s", {"pool": "plain"}),
    "ewa_net_s, sigmoid gate": ("ewa_net_s", {"pool": "gate"}),
    "ewa_net_s, squeeze-excitation": ("ewa_net_s", {"pool": "se"}),
    "ewa": ("ewa", {}),
    "linear": ("linear", {}),
}
EXPLANATION = """Multiply-adds are those of convolutions and matrix products for one image. Saved is
what training keeps of one image for the backward. On disk: the weights in float16. One image: the
median latency of the network alone. Images a second: prediction, and training steps (forward,
backward, AdamW), in batches of {batch}. One thread, float32, channels-last.
"""


def build(name: str, options: dict[str, Any], shape: tuple[int, int, int]) -> nn.Module:
    """Return a network with the weights it starts from."""
    options = dict(options)
    backend = options.pop("backend", None)
    model = create_model(name, input_shape=shape, num_classes=10, **options)
    for module in model.modules():
        if backend and hasattr(module, "backend"):
            module.backend = backend
    return model.to(memory_format=torch.channels_last)


def fixed_costs(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the costs that are counted, not timed; bytes where it is memory."""
    images = torch.rand(2, *shape).to(memory_format=torch.channels_last)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(images[:1])
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "multiply_adds": counter.get_total_flops() // 2,
        "saved_bytes": saved_bytes(model, images) // len(images),
        "disk_bytes": len(save({k: _half(v) for k, v in model.state_dict().items()})),
    }


def saved_bytes(model: nn.Module, images: Tensor) -> int:
    """Return the bytes of the distinct tensors that autograd keeps, without the parameters."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model.train()(images)  # alive until the end, so that no address is used twice
    total = sum(kept.values())
    del outputs
    return total


def _half(tensor: Tensor) -> Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()


def calls(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, Call]:
    """Return what is timed."""
    one, many = (torch.rand(n, *shape).to(memory_format=torch.channels_last) for n in (1, BATCH))
    labels = torch.arange(BATCH) % 10
    optimizer = make_optimizer(model, TrainConfig())

    @torch.inference_mode()
    def latency() -> None:
        model.eval()(one)

    @torch.inference_mode()
    def predict() -> None:
        model.eval()(many)

    def train() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model.train()(many), labels).backward()
        optimizer.step()

    return {"latency_s": latency, "predict_s": predict, "train_s": train}


def measure(shape: tuple[int, int, int], rounds: int) -> dict[str, dict[str, Any]]:
    """Return the costs of every network, by its label."""
    networks = {label: build(*network, shape) for label, network in NETWORKS.items()}
    costs: dict[str, dict[str, Any]] = {n: fixed_costs(m, shape) for n, m in networks.items()}
    timed = {label: calls(model, shape) for label, model in networks.items()}
    for what in ("latency_s", "predict_s", "train_s"):
        contestants = {label: functions[what] for label, functions in timed.items()}
        times = interleave(contestants, seconds=0, rounds=(rounds, rounds))
        for label in costs:
            costs[label][what] = statistics.median(times[label])
    return costs


def table(costs: dict[str, dict[str, Any]]) -> str:
    """Return the costs of one shape as Markdown."""
    lines = [
        "| network | parameters | multiply-adds (M) | saved, kB an image | on disk, kB | "
        "one image, ms | predicted a second | trained a second |",
        "| --- |" + " ---: |" * 7,
    ]
    for label, c in costs.items():
        lines.append(
            f"| {label} | {c['parameters']:,} | {c['multiply_adds'] / 1e6:.2f} | "
            f"{c['saved_bytes'] / 1e3:,.0f} | {c['disk_bytes'] / 1e3:,.0f} | "
            f"{c['latency_s'] * 1e3:.2f} | {BATCH / c['predict_s']:,.0f} | "
            f"{BATCH / c['train_s']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("results/ewa_net/costs"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ewa_rs.set_num_threads(1)
    torch.manual_seed(0)
    costs = {name: measure(shape, arguments.rounds) for name, shape in SHAPES.items()}
    about = environment()
    write_json(arguments.output.with_suffix(".json"), {**about, "batch": BATCH, "costs": costs})
    versions = versions_text(about["versions"])
    text = "\n".join(f"{name}:\n\n{table(c)}" for name, c in costs.items())
    text += f"\n{EXPLANATION.format(batch=BATCH)}{about['hardware']['cpu']}; {versions}.\n\n"
    text += f"    python benchmarks/costs.py --output {arguments.output.as_posix()}\n"
    write_text(arguments.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
