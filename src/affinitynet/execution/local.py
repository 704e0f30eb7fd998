"""Per-image work on this machine: processes through loky, results as they come."""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from loky import get_reusable_executor

from affinitynet.execution.progress import track

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
CHUNK = 16
"""Images that are saved at a time: a run that is killed loses no more than these."""


@dataclass(frozen=True)
class Execution:
    """Where the work is done (`execution` in the parameters).

    Attributes:
        workers: Processes for per-image work, 1 or more; 0 takes one a core.
        device: `cpu`, `cuda`, `cuda:1`, …; `auto` takes CUDA where there is one.
    """

    workers: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"execution.workers is {self.workers}; it must be 0 or more.")

    @property
    def processes(self) -> int:
        """Number of processes for per-image work."""
        return self.workers or len(os.sched_getaffinity(0))


def stream(
    function: Callable[..., T],
    items: Iterable[tuple[Any, ...]],
    *,
    total: int,
    execution: Execution,
    description: str,
) -> Iterator[dict[str, T]]:
    """Map a function over images in processes, in bounded memory.

    Args:
        function: Picklable; called as `function(*arguments)`.
        items: `(image id, *arguments)` of each image, taken as workers get free.
        total: Number of items, for the progress bar.
        execution: Number of processes.
        description: What is being done, for the progress bar.

    Yields:
        Image id to result, `CHUNK` images at a time, in the order of the items.
    """
    results = map_images(function, items, total=total, execution=execution)
    yield from chunks(track(results, description, total=total))


def map_images(
    function: Callable[..., T],
    items: Iterable[tuple[Any, ...]],
    *,
    total: int,
    execution: Execution,
) -> Iterator[tuple[str, T]]:
    """Map a function over images in processes; `stream` without progress bar and chunks.

    Args:
        function: Picklable; called as `function(*arguments)`.
        items: `(image id, *arguments)` of each image, taken as workers get free.
        total: Number of items.
        execution: Number of processes.

    Yields:
        Image id and result, in the order of the items.
    """
    processes = min(execution.processes, max(total, 1))
    if processes == 1:
        yield from ((image_id, function(*arguments)) for image_id, *arguments in items)
        return
    # One thread a process: the processes keep the cores busy by themselves.
    pool = get_reusable_executor(processes, timeout=60, env={"OMP_NUM_THREADS": "1"})
    ahead: deque[tuple[str, Future[T]]] = deque()
    for image_id, *arguments in items:
        ahead.append((image_id, pool.submit(function, *arguments)))
        if len(ahead) > 2 * processes:
            first, future = ahead.popleft()
            yield first, future.result()
    for image_id, future in ahead:
        yield image_id, future.result()


def chunks(results: Iterable[tuple[str, T]]) -> Iterator[dict[str, T]]:
    """Gather `(image id, result)` pairs into dicts of `CHUNK` images."""
    chunk: dict[str, T] = {}
    for image_id, result in results:
        chunk[image_id] = result
        if len(chunk) == CHUNK:
            yield chunk
            chunk = {}
    if chunk:
        yield chunk


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Make items in a thread, up to `count` of them before they are asked for.

    Args:
        items: Made one after the other, in the order given.
        count: Items that are waiting at most, 1 or more.

    Yields:
        The items.
    """
    source, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting = deque(thread.submit(next, source, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, source, end))
            yield item  # type: ignore[misc]  # no `end` gets here


def pick_device(execution: Execution) -> "torch.device":
    """Return the torch device that `execution.device` names.

    Raises:
        ValueError: If it names a CUDA device that this machine lacks.
    """
    import torch

    available = torch.cuda.is_available()
    name = execution.device
    device = torch.device(("cuda" if available else "cpu") if name == "auto" else name)
    if device.type == "cpu":
        _keep_freed_memory()
    elif device.type == "cuda" and not available:
        raise ValueError(
            f"execution.device is '{execution.device}', but torch sees no CUDA device; use 'cpu'."
        )
    return device


def _keep_freed_memory() -> None:
    """Let the C library keep the memory of large tensors that are freed, for the next ones.

    glibc gives blocks above 32 MB back to the system and gets them anew, zeroed page by page, at
    every layer: a quarter of a training step, 40 % of inference. torch's CUDA allocator keeps them
    by itself.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
