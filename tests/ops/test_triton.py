"""The Triton kernels as far as they can be checked without a GPU.

Their results, under Triton's interpreter; their compilation to machine code for the T4 (sm_75),
A100 (sm_80) and H100 (sm_90), within a T4's limits; and the choice of their tiles.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ewa_rs.ops import _triton
from ewa_rs.ops._triton.layout import TILE, make_layout

pytest.importorskip("triton")
# What a T4 has: registers, bytes of shared memory, threads, each of a multiprocessor.
REGISTERS, SHARED, THREADS = 65_536, 64 * 1024, 1024


def test_results_under_the_interpreter() -> None:
    """In a process of its own: Triton reads TRITON_INTERPRET when it is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/ops/interpreted_triton.py"],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert re.search(r"^2\d passed", done.stdout, re.MULTILINE), done.stdout


class Compiler:
    """Stands in for a GPU: kernels that are launched are compiled for it instead."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.capability = capability
        self.target = GPUTarget("cuda", capability, 32)
        self.compiled: list[Any] = []

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> int:
        return self.capability  # Triton keeps what it has compiled for each device

    def get_current_stream(self, device: int) -> int:
        return 0

    def launch(self, kernel: Any, programs: int, **arguments: Any) -> None:
        assert 0 < programs < 2**31
        self.compiled.append(
            kernel.warmup(grid=(programs,), **arguments, **_triton.COMPILER_OPTIONS)
        )


def compiler(capability: int, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    from triton.runtime import driver

    made = Compiler(capability)
    monkeypatch.setattr(driver, "_active", made)
    monkeypatch.setattr(_triton, "_launch", made.launch)
    return made


def resources(kernel: Any, folder: Path) -> dict[str, int]:
    """Registers of a thread, bytes of its stack and of shared memory, by the machine code."""
    import triton.backends.nvidia

    tool = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    file = folder / "kernel.cubin"
    file.write_bytes(kernel.asm["cubin"])
    listing = subprocess.run([tool, "-res-usage", file], capture_output=True, text=True, check=True)
    return {
        name: int(n) for name, n in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", listing.stdout)
    }


# Slices in one tile and in several, elements and slices as neighbours; weights over the batch.
SHAPES = {
    "image": ((128, 1, 28, 28), (1, 2, 3)),
    "rows": ((128, 3, 32, 32), (3,)),
    "long": ((128, 3, 32, 32), (1, 2, 3)),
    "channels": ((8, 64, 14, 14), (1,)),
}
MACHINE_CODE = [(75, dtype, name) for dtype in ("float32", "float16") for name in SHAPES]
MACHINE_CODE += [(75, "bfloat16", "image"), (80, "bfloat16", "channels"), (80, "float32", "long")]
MACHINE_CODE += [(90, "bfloat16", "channels"), (90, "float16", "long")]


@pytest.mark.parametrize(("capability", "dtype", "name"), MACHINE_CODE)
def test_machine_code_fits_a_t4(
    capability: int, dtype: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = compiler(capability, monkeypatch).compiled
    shape, axes = SHAPES[name]
    x, w = (torch.zeros(size, dtype=getattr(torch, dtype)) for size in (shape, shape[1:]))
    mask = torch.zeros(shape, dtype=torch.bool)
    full = (x, *[w] * 6, mask)
    cases = [(False, (x, x, x, w)), (True, full)]
    for project, inputs in cases:
        kernels, settings = _triton.Triton(project=project), (axes, 0.5, False)
        y, a, statistics = kernels.forward(inputs, settings, (True,))
        wanted = [t is not None and t.dtype != torch.bool for t in inputs]
        kernels.backward(inputs, settings, (y, a), (statistics,), wanted)
    one_block = name in ("image", "rows")
    assert len(compiled) == (2 if one_block else 3) * len(cases)
    for kernel in compiled:
        used = resources(kernel, tmp_path)
        threads = 32 * kernel.metadata.num_warps
        assert threads <= THREADS
        # Room for two blocks at a time, so that one computes while the other waits for memory.
        assert 0 < used["REG"] * threads <= REGISTERS // 2, (kernel.metadata.name, used)
        assert max(used["SHARED"], kernel.metadata.shared) <= SHARED // 2
        if capability == 75:
            assert used["STACK"] == used["LOCAL"] == 0, f"{kernel.metadata.name} spills: {used}"


def test_available_needs_a_device() -> None:
    assert not _triton.available(torch.device("cpu"))
    assert _triton.available() == (
        torch.cuda.is_available() and torch.cuda.get_device_capability() >= (7, 5)
    )


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return torch.empty(shape, device="meta").stride()


@pytest.mark.parametrize(
    ("shape", "axes", "merged", "tile"),
    [
        ((128, 1, 28, 28), (1, 2, 3), ((), (0,), (), (2, 3)), (1, 1024)),
        ((128, 3, 32, 32), (3,), ((), (0,), (1, 2), (3,)), (32, 32)),
        ((8, 64, 14, 14), (1,), ((), (0,), (2, 3), (1,)), (32, 32)),
        ((700, 5), (0,), ((), (), (1,), (0,)), (8, 128)),
        ((8, 5000), (1,), ((), (0,), (), (1,)), (1, 1024)),
    ],
    ids=str,
)
def test_layout_of_an_input_and_an_array_over_the_batch(
    shape: Any, axes: Any, merged: Any, tile: tuple[int, int]
) -> None:
    """Neighbours merge; the batch, over which the array's gradient is summed, is the group."""
    batch = 0 not in axes
    small = (0, *contiguous(shape[1:])) if batch else contiguous(shape)
    sums = ((batch, *[False] * (len(shape) - 1)),) if batch else ()
    layout = make_layout(shape, axes, (contiguous(shape), small), sums)
    assert layout.axes == merged
    assert (layout.block_s, layout.block_r) == tile
    assert layout.block_s * layout.block_r <= TILE
    assert layout.n == torch.Size([shape[d] for d in axes]).numel()


@pytest.mark.parametrize("group", [1, 3, 4, 127, 128, 10_000])
def test_no_member_of_the_group_is_left_out(group: int) -> None:
    shape = (group, 2, 300)
    sums = ((True, False, False),)
    layout = make_layout(shape, (2,), (contiguous(shape), (0, 300, 1)), sums)
    steps = layout.steps(summed=True)
    parts = -(-group // steps)
    assert (parts - 1) * steps < group <= parts * steps
    assert layout.steps(summed=False) == 1
