"""One run in several processes, as torchrun starts them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ewa_rs.utils.device import resolve_device

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of a run, and which of them this one is; one alone asks nothing of the others.

    Attributes
    ----------
    rank, size
        Number of this process, number of processes. Rank 0 writes the files.
    """

    rank: int = 0
    size: int = 1

    def share(self, batch: Tensor) -> Tensor:
        """Return this process's part of a batch: of every `size` entries one."""
        return batch[self.rank :: self.size]

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over the processes."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def from_first(self, function: Callable[[], T]) -> T:
        """Call a function in rank 0 and return its value in all; if it fails, all of them stop."""
        if self.size == 1:
            return function()
        outcome: list[T | bool | None] = [None, False]
        if self.rank == 0:
            try:
                outcome = [function(), True]
            finally:
                dist.broadcast_object_list(outcome)
        else:
            dist.broadcast_object_list(outcome)
        if not outcome[1]:
            raise SystemExit(1)  # rank 0 says why
        return outcome[0]  # type: ignore[return-value]

    def first_on_each_node(self, function: Callable[[], T]) -> T:
        """Call a function in every process, first in one a machine, which may download."""
        first = local_rank() == 0
        if self.size > 1 and not first:
            dist.barrier()
        value = function()
        if self.size > 1 and first:
            dist.barrier()
        return value

    def diverge(self) -> None:
        """Let the random numbers from here on differ between the processes."""
        if self.rank:
            torch.manual_seed(torch.initial_seed() + self.rank)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the network with gradients averaged over the processes.

        On CUDA, batch norm then takes its statistics from the whole batch. On CPUs PyTorch has no
        such batch norm: each process normalises by its own part, and rank 0's averages are kept.
        """
        if self.size == 1:
            return model
        device = next(model.parameters()).device
        if device.type == "cpu":
            return DistributedDataParallel(model)
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return DistributedDataParallel(model, device_ids=[device])

    def broadcast(self, buffers: Iterable[Tensor]) -> None:
        """Give all processes rank 0's running averages."""
        if self.size > 1:
            for buffer in buffers:
                dist.broadcast(buffer, 0)


ALONE = World()


@contextmanager
def join(device_name: str) -> Iterator[World]:
    """Join the processes that torchrun started, if it did; they part at the end.

    Raises
    ------
    ConnectionError
        In the processes that are left when one is lost.
    """
    size, rank = world_size(), int(os.environ.get("RANK", "0"))
    if size == 1:
        yield ALONE
        return
    device = own_device(device_name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    finished = False
    try:
        yield World(rank, size)
        finished = True
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        # Without the place in gloo's sources before it, and advice after it.
        reason = re.sub(r"^\[\S+\] ", "", str(error)).partition(". ")[0][:100]
        raise ConnectionError(f"another of the {size} processes is gone ({reason})") from error
    finally:
        # NCCL would wait for processes that are gone; gloo's threads must end before this one.
        if finished or device.type == "cpu":
            dist.destroy_process_group()


def world_size() -> int:
    """Return how many processes torchrun started for the run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Return the number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def own_device(name: str) -> torch.device:
    """Resolve ``auto``, ``cpu`` or ``cuda`` to this process's device, one GPU a process."""
    if world_size() > 1:
        if name.startswith("cuda:"):
            raise ValueError(
                f"device: expected auto, cpu or cuda in several processes, got {name!r}"
            )
        if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
            name = f"cuda:{local_rank()}"
    return resolve_device(name)


def check_batch_size(batch_size: int, size: int) -> int:
    """Refuse a batch that the processes cannot share equally."""
    if batch_size % size:
        raise ValueError(
            f"batch_size: expected a multiple of {size}, the number of processes, got {batch_size}"
        )
    return batch_size


def _is_lost_connection(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in text or "nccl" in text
