"""Where the time of the op goes: Linux's perf, sampling by the clock, on one thread.

    python benchmarks/where.py > results/bench/where.md

prints for each case the shares of this package's compiled module, of the operating system's kernel
(which maps fresh memory), of PyTorch's libraries, and of Python with everything else.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import torch

import ewa_rs
from ewa_rs.training.environment import environment
from ewa_rs.training.report.summary import versions_text

CASES = {
    "rows (128, 784), training": ((128, 784), (-1,), torch.float32),
    "rows (1024, 784), training": ((1024, 784), (-1,), torch.float32),
    "rows (12544, 784), training": ((12544, 784), (-1,), torch.float32),
    "long (16, 1000000), training": ((16, 1_000_000), (-1,), torch.float32),
    "maps, channel, training": ((64, 32, 28, 28), (1,), torch.float32),
    "maps, channel float16, training": ((64, 32, 28, 28), (1,), torch.float16),
}
SHARES = ("ewa_rs", "operating system", "PyTorch", "Python and others")
SECONDS = "3"


def share_of(library: str) -> str:
    """Return whose a library is, by its file's name."""
    if library.startswith("_core"):
        return SHARES[0]
    if library.startswith("[kernel"):
        return SHARES[1]
    return SHARES[2] if library.startswith(("libtorch", "libc10", "_C.")) else SHARES[3]


def profile(name: str) -> dict[str, float]:
    """Return the shares of the samples that are taken while a case runs."""
    shape, axis, dtype = CASES[name]
    q, k, v = (torch.randn(shape).to(dtype).requires_grad_() for _ in range(3))
    grad = torch.randn(shape).to(dtype)

    def steps() -> None:
        for _ in range(10):
            y = ewa_rs.elementwise_attention(q, k, v, axis=axis)
            torch.autograd.grad(y, (q, k, v), grad)

    steps()  # the first of all imports much
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        record = ("perf", "record", "--quiet", "--event=cpu-clock", "-o", data)
        perf = subprocess.Popen([*record, "-p", str(os.getpid()), "--", "sleep", SECONDS])
        while perf.poll() is None:
            steps()
        report = ("perf", "report", "--stdio", "--sort=dso", "--field-separator=;", "-i", data)
        text = subprocess.run(report, check=True, capture_output=True, text=True).stdout
    shares = dict.fromkeys(SHARES, 0.0)
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            percent, library = line.split(";")[:2]
            shares[share_of(library.strip())] += float(percent.strip(" %"))
    return shares


def main() -> None:
    """Print a table of all cases."""
    ewa_rs.set_num_threads(1)
    torch.set_num_threads(1)
    print(f"| time spent in (%) | {' | '.join(SHARES)} |\n| --- |{' ---: |' * len(SHARES)}")
    for name in CASES:
        shares = profile(name)
        print(f"| {name} | {' | '.join(f'{shares[share]:.0f}' for share in SHARES)} |", flush=True)
    about = environment()
    print(f"\n{about['hardware']['cpu']}, one thread; {versions_text(about['versions'])}.")


if __name__ == "__main__":
    main()
