"""Threads: how many, the same bits with any number of them, forked children and workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.registry import ALONG_SLICES, Op

import ewa_rs

every_op = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    before = ewa_rs.get_num_threads()
    yield
    ewa_rs.set_num_threads(before)


def run(script: str, **variables: str) -> str:
    """Run `script` in a Python of its own; a deadlock there is a failure, not a wait for ever."""
    names = ("EWA_NUM_THREADS", "OMP_NUM_THREADS")
    environment = {n: v for n, v in os.environ.items() if n not in names} | variables
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_number_of_threads_can_be_set() -> None:
    for n in (1, 3, 2):
        ewa_rs.set_num_threads(n)
        assert ewa_rs.get_num_threads() == n


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError)]
)
def test_numbers_of_threads_that_are_refused(n: Any, error: type[Exception]) -> None:
    before = ewa_rs.get_num_threads()
    with pytest.raises(error, match="n"):
        ewa_rs.set_num_threads(n)
    assert ewa_rs.get_num_threads() == before


PRINT_THREADS = "import ewa_rs; print(ewa_rs.get_num_threads())"


def test_environment() -> None:
    assert run(PRINT_THREADS, EWA_NUM_THREADS="3") == "3"
    assert run(PRINT_THREADS, EWA_NUM_THREADS="3", OMP_NUM_THREADS="5") == "3"
    assert run(PRINT_THREADS, OMP_NUM_THREADS="4,2,1") == "4"
    assert int(run(PRINT_THREADS)) >= 1
    set_after = "import ewa_rs; ewa_rs.set_num_threads(2); print(ewa_rs.get_num_threads())"
    assert run(set_after, EWA_NUM_THREADS="3") == "2"


def results(op: Op, shape: tuple[int, ...], axis: Any, rows: slice, dtype: Any) -> list[np.ndarray]:
    """Every output and gradient as bits; all operands but the first have the shape of `rows`."""
    generator = torch.Generator().manual_seed(0)
    tensors = {n: torch.randn(shape, generator=generator) for n in (*op.operands, *op.optional)}
    for name in list(tensors)[1:]:
        tensors[name] = tensors[name][rows]
    leaves = {n: t.to(dtype).requires_grad_() for n, t in tensors.items()}
    mask = torch.randn(shape[1:], generator=generator).to(dtype).requires_grad_()
    outputs = op(leaves, axis=axis, mask=mask, return_weights=True, backend="rust")
    given = [torch.randn(shape, generator=generator).to(dtype) for _ in outputs]
    grads = torch.autograd.grad(outputs, [*leaves.values(), mask], given)
    return [x.detach().float().numpy() for x in (*outputs, *grads)]


@every_op
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3000, 47), -1), ((3000, 47), 0), ((2, 100_003), -1), ((40, 31, 64), (0, 2)), ((9, 9), -1)],
    ids=str,
)
def test_the_same_bits_with_any_number_of_threads(
    op: Op, shape: tuple[int, ...], axis: Any, dtype: torch.dtype
) -> None:
    """Outputs and gradients, those that are sums over a broadcast axis above all."""
    for rows in (slice(0, 1), slice(None)):
        ewa_rs.set_num_threads(1)
        expected = results(op, shape, axis, rows, dtype)
        for n in (2, 3, 8):
            ewa_rs.set_num_threads(n)
            for got, want in zip(results(op, shape, axis, rows, dtype), expected, strict=True):
                np.testing.assert_array_equal(got, want)


def test_many_callers_at_once() -> None:
    script = """
import concurrent.futures, numpy as np, ewa_rs
x = np.random.default_rng(0).standard_normal((2000, 64)).astype("f4")
expected = ewa_rs.elementwise_attention(x, x, x)
def work(i):
    ewa_rs.set_num_threads(i % 3 + 1)
    return np.array_equal(ewa_rs.elementwise_attention(x, x, x), expected)
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(all(pool.map(work, range(40))))
"""
    assert run(script, EWA_NUM_THREADS="2") == "True"


FORK = """
import os, numpy as np, ewa_rs
x = np.random.default_rng(0).standard_normal((2000, 64)).astype("f4")
ewa_rs.set_num_threads(2)
expected = ewa_rs.elementwise_attention(x, x, x)  # the pool is running
child = os.fork()
if child == 0:
    same = np.array_equal(ewa_rs.elementwise_attention(x, x, x), expected)
    ewa_rs.set_num_threads(2)  # a pool of its own
    same &= np.array_equal(ewa_rs.elementwise_attention(x, x, x), expected)
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(not np.array_equal(ewa_rs.elementwise_attention(x, x, x), expected))
    os._exit(not same or os.waitpid(grandchild, 0)[1] != 0)
status = os.waitpid(child, 0)[1]
assert np.array_equal(ewa_rs.elementwise_attention(x, x, x), expected)
print(status, ewa_rs.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_after_a_fork() -> None:
    assert run(FORK) == "0 2"


FORK_BEFORE_ANY_CALL = """
import os, ewa_rs
child = os.fork()
if child == 0:
    os._exit(ewa_rs.get_num_threads())
status = os.waitpid(child, 0)[1]
print(os.waitstatus_to_exitcode(status), ewa_rs.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_has_one_thread_even_if_its_parent_has_used_none() -> None:
    assert run(FORK_BEFORE_ANY_CALL, EWA_NUM_THREADS="3") == "1 3"


DATA_LOADER = """
import torch, ewa_rs
x = torch.randn(2000, 64)
ewa_rs.set_num_threads(2)
expected = ewa_rs.elementwise_attention(x, x, x)
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return ewa_rs.elementwise_attention(x, x, x)
loader = torch.utils.data.DataLoader(
    Data(), batch_size=None, num_workers=2, multiprocessing_context="fork"
)
print(all(torch.equal(y, expected) for y in loader))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_in_a_worker_of_a_data_loader() -> None:
    assert run(DATA_LOADER) == "True"


def test_the_interpreter_goes_on_while_the_kernels_run() -> None:
    """The GIL is released: another thread gets on during the calls, and only during them."""
    script = """
import sys, threading, time, numpy as np, ewa_rs
x = np.random.default_rng(0).standard_normal((1000, 1000)).astype("f4")
steps, running = 0, True
def count():
    global steps
    while running:
        steps += 1
        time.sleep(1e-6)
thread = threading.Thread(target=count)
thread.start()
while steps == 0:
    time.sleep(1e-6)
sys.setswitchinterval(1000)  # from now on it goes on only where the GIL is given up
before = steps
for _ in range(10**6):
    pass
meanwhile = steps - before
for _ in range(500):
    ewa_rs.elementwise_attention(x, x, x)
    if steps > before:
        break
print(meanwhile <= 1, steps > before)  # a wait for the GIL that began before may end
running = False
"""
    assert run(script, EWA_NUM_THREADS="1") == "True True"
