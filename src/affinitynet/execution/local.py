"""The engine `local`: processes of this machine, through loky."""

import pickle
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from multiprocessing import Manager
from queue import Empty
from typing import Any, TypeVar

from loky import ProcessPoolExecutor, get_reusable_executor
from loky.process_executor import TerminatedWorkerError

from affinitynet.execution.engine import (
    ATTEMPTS,
    PATIENCE,
    TrainingDiedError,
    WorkerDiedError,
)
from affinitynet.execution.group import run_rank
from affinitynet.execution.parameters import Execution, cores

T = TypeVar("T")


def pool(
    function: Callable[..., T], *, total: int, execution: Execution, networks: bool
) -> tuple[int, Callable[..., Callable[[], T]]]:
    """See `affinitynet.execution.engine.Engine`. One worker, or a network, is this process."""
    # not one for a single image: it may be what is left of a run that it brought down
    processes = 1 if networks else min(execution.processes, max(total, 2))
    if processes == 1:
        return 1, partial(partial, function)

    def begin(*arguments: Any) -> Future[T]:
        # One thread a process: the processes keep the cores busy by themselves. A pool that broke
        # is replaced by a new one.
        executor = get_reusable_executor(processes, timeout=60, env={"OMP_NUM_THREADS": "1"})
        try:
            future: Future[T] = executor.submit(function, *arguments)
        except TerminatedWorkerError as error:  # it broke this very moment
            future = Future()
            future.set_exception(error)
        return future

    def submit(*arguments: Any) -> Callable[[], T]:
        return partial(_result, begin(*arguments), partial(begin, *arguments))

    return 2 * processes, submit


def _result(future: Future[T], again: Callable[[], Future[T]]) -> T:
    """Wait for a call; begin it again if its pool broke.

    A worker that dies takes all calls that are under way with it. Nothing new is begun meanwhile,
    so that the third attempt at the latest runs alone: if it fails, this call is to blame.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return future.result()
        except TerminatedWorkerError:
            future = again()
    try:
        return future.result()
    except TerminatedWorkerError as error:
        raise WorkerDiedError from error


def launch(loop: Callable[[], Iterator[T]], *, execution: Execution) -> Iterator[T]:
    """See `affinitynet.execution.engine.Engine`. One process is this one."""
    size = execution.devices
    if size == 1:
        yield from loop()
        return
    threads = max(1, cores() // size)
    with Manager() as manager, tempfile.TemporaryDirectory() as folder:
        values = manager.Queue()
        executor = ProcessPoolExecutor(size, env={"OMP_NUM_THREADS": str(threads)})
        try:
            ranks = [
                executor.submit(_rank, loop, f"{folder}/store", rank, execution, values)
                for rank in range(size)
            ]
            for rank, future in enumerate(ranks):
                future.add_done_callback(partial(_put, values, rank))
            running = size
            errors: list[Any] = []
            while running:
                try:
                    value = values.get(timeout=PATIENCE if errors else None)
                except Empty:
                    break
                if isinstance(value, bytes):
                    yield pickle.loads(value)
                    continue
                running -= 1
                if error := ranks[value].exception():
                    errors.append(error)
        finally:
            executor.shutdown(kill_workers=True)
    for failure in errors:
        if isinstance(failure, TerminatedWorkerError):
            raise TrainingDiedError(failure) from failure
    if errors:
        raise errors[0]


def _put(values: Any, rank: int, _: Future[None]) -> None:
    values.put(rank)


def _rank(
    loop: Callable[[], Iterator[Any]], store: str, rank: int, execution: Execution, values: Any
) -> None:
    from torch.distributed import FileStore  # type: ignore[attr-defined]

    meeting = FileStore(store, execution.devices)
    for value in run_rank(loop, meeting, rank, rank, execution):
        # Bytes: tensors would be handed over in memory that ends with this process.
        values.put(pickle.dumps(value))
