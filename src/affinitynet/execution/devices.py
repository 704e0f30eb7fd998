"""The device that networks run on."""

import ctypes
import os
from typing import TYPE_CHECKING

from affinitynet.errors import UserError
from affinitynet.execution.parameters import Execution

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def pick_device(execution: Execution) -> "torch.device":
    """Return the device that `execution.device` names, and set up this process of a run for it.

    Raises:
        ValueError: If this machine has no such device.
    """
    from affinitynet.networks.devices import find_device

    device = find_device(execution.device)
    if device.type == "cpu":
        _keep_freed_memory()
    elif device.type == "cuda":
        _compute_the_same_each_time()
    return device


def check_devices(execution: Execution) -> None:
    """Check that this machine has a device for each of `execution.devices` processes.

    Raises:
        UserError: If there are CUDA devices, but fewer.
    """
    import torch

    count = torch.cuda.device_count() if execution.device != "cpu" else 0
    if 0 < count < execution.devices:
        raise UserError(
            f"execution.devices is {execution.devices}, but torch sees {count} CUDA devices on "
            "this machine; lower it, or set execution.device=cpu."
        )


def _compute_the_same_each_time() -> None:
    """Let CUDA add up in one order, so that a seed gives the same scores on a GPU too."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True  # also where inference switches off the rest
    # only of use to find bugs
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _keep_freed_memory() -> None:
    """Let the C library keep the memory of large tensors that are freed, for the next ones.

    glibc gives blocks above 32 MB back to the system and allocates them again, zeroed page by
    page, at every layer: a quarter of a training step, 40 % of inference. torch's CUDA allocator
    keeps them automatically.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
