"""Where a model runs: CPU or CUDA, one process or several under torchrun, float32 or bfloat16."""

from __future__ import annotations

import ctypes
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from generative.data.store import Batch
from generative.errors import UsageError


@dataclass(frozen=True)
class Place:
    """One process's share of the work."""

    device: torch.device
    rank: int
    world: int
    precision: str

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[object]:
        """bfloat16 for the operations that gain from it, where asked; losses are computed in float32 by the models themselves."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def put(self, model: nn.Module) -> None:
        """Moves a model here; kernels of convolutions are laid out channels_last, which CPU and GPU convolve fastest."""
        model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def take(self, batch: Batch) -> Batch:
        """The batch here, images laid out like the kernels."""
        batch = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
        if batch["x"].dim() == 4:
            batch["x"] = batch["x"].contiguous(memory_format=torch.channels_last)
        return batch

    def average_gradients(self, optimizer: Optimizer) -> None:
        """Replaces each gradient by its mean over the processes."""
        if self.world > 1:
            self._average([p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None])

    def average_buffers(self, model: nn.Module) -> None:
        """Replaces each floating-point buffer, such as BatchNorm's statistics, by its mean over the processes."""
        if self.world > 1:
            self._average([b for b in model.buffers() if b.is_floating_point()])

    def average(self, values: Tensor) -> Tensor:
        if self.world > 1:
            self._average([values])
        return values

    def _average(self, tensors: list[Tensor]) -> None:
        if tensors:
            flat = torch.cat([t.detach().reshape(-1) for t in tensors])
            dist.all_reduce(flat)
            for tensor, mean in zip(tensors, (flat / self.world).split([t.numel() for t in tensors]), strict=True):
                tensor.detach().copy_(mean.view(tensor.shape))


def place(precision: str, threads: int) -> Place:
    """The device of the environment variable GENERATIVE_DEVICE (cpu, cuda), else CUDA where there is some, else the CPU.

    Raises:
        UsageError: the device that was asked for is not there.
    """
    torch.set_num_threads(threads)
    _keep_memory()
    asked = os.environ.get("GENERATIVE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if asked not in ("cpu", "cuda") or (asked == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"GENERATIVE_DEVICE: expected cpu, or cuda where torch finds a GPU, got {asked!r}")
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device(asked, local) if asked == "cuda" else torch.device("cpu")
    if asked == "cuda":
        torch.cuda.init()
        torch.cuda.set_device(device)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may sum in another order each time
        torch.backends.cudnn.deterministic = True
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if asked == "cuda" else "gloo", device_id=device if asked == "cuda" else None)
    return Place(device, rank, world, precision)


def _keep_memory() -> None:
    """Lets the C library keep what a step frees for the next step: getting it anew from the kernel takes a sixth of a step on a CPU."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(trim_threshold, 1 << 30)
        libc.mallopt(mmap_threshold, 1 << 30)


def describe(device: torch.device) -> str:
    """The hardware's name, for the record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        name = "CPU"
    return f"{name}, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"


def seed(*parts: int) -> None:
    """Sets torch's random state on all devices to a function of `parts` alone."""
    value = int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(value)  # torch.manual_seed does the same a hundred times slower
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)
