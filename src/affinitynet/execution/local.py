"""The engine `local`: processes of this machine, through loky."""

import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.managers import SyncManager
from queue import Empty
from threading import Thread
from typing import Any, TypeVar

from loky import ProcessPoolExecutor, get_reusable_executor
from loky.process_executor import TerminatedWorkerError

from affinitynet.execution.devices import check_devices
from affinitynet.execution.engine import (
    ATTEMPTS,
    PATIENCE,
    RankDiedError,
    WorkerDiedError,
)
from affinitynet.execution.group import run_rank
from affinitynet.execution.parameters import Execution, cores

T = TypeVar("T")


@contextmanager
def pool(
    function: Callable[..., T], *, total: int, execution: Execution, networks: bool
) -> Iterator[tuple[int, Callable[..., Callable[[], T]]]]:
    """See `affinitynet.execution.engine.Engine`. One worker, or one device, is this process."""
    # not one for a single image: it may be the last image of a run that it crashed
    processes = execution.devices if networks else min(execution.processes, max(total, 2))
    if processes == 1:
        yield 1, partial(partial, function)
    elif networks:
        check_devices(execution)
        with _on_devices(function, processes) as submit:
            yield 2 * processes, submit  # a device finds its next call waiting
    else:
        yield 2 * processes, partial(_submit, processes, function)


def _submit(processes: int, function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
    def begin() -> Future[T]:
        # One thread a process: the processes keep the cores busy by themselves. A pool that broke
        # is replaced by a new one.
        executor = get_reusable_executor(processes, timeout=60, env={"OMP_NUM_THREADS": "1"})
        try:
            future: Future[T] = executor.submit(function, *arguments)
        except TerminatedWorkerError as error:  # it broke this very moment
            future = Future()
            future.set_exception(error)
        return future

    return partial(_result, begin(), begin)


@contextmanager
def _on_devices(
    function: Callable[..., T], devices: int
) -> Iterator[Callable[..., Callable[[], T]]]:
    """Give each device a process, and the calls to them in turn; the results come in turn too."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    threads = str(max(1, cores() // devices))

    def worker(number: int) -> ProcessPoolExecutor:
        env = {"CUDA_VISIBLE_DEVICES": nth_device(number, visible), "OMP_NUM_THREADS": threads}
        # the function, which holds a network, is handed over once and not with every call
        return ProcessPoolExecutor(1, env=env, initializer=_keep, initargs=(function, os.getpid()))

    workers = [worker(number) for number in range(devices)]
    turns = cycle(range(devices))

    def begin(number: int, *arguments: Any) -> Future[T]:
        try:
            future: Future[T] = workers[number].submit(_call_kept, *arguments)
        except TerminatedWorkerError:
            workers[number] = worker(number)
            future = workers[number].submit(_call_kept, *arguments)
        return future

    def submit(*arguments: Any) -> Callable[[], T]:
        again = partial(begin, next(turns), *arguments)
        return partial(_result, again(), again)

    try:
        yield submit
    finally:
        for executor in workers:  # frees their memory on the devices
            executor.shutdown(kill_workers=True)


def nth_device(number: int, visible: str | None) -> str:
    """Name one of the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES does.

    Args:
        number: Of the device, from 0.
        visible: CUDA_VISIBLE_DEVICES of this process: `2,3`, or GPUs' UUIDs; None for all.

    Returns:
        Its number or UUID; nothing if there is no such device.
    """
    if visible is None:
        return str(number)
    return dict(enumerate(visible.split(","))).get(number, "")


_kept: Callable[..., Any]


def _keep(function: Callable[..., Any], parent: int) -> None:
    global _kept
    _kept = function
    end_with(parent)


def end_with(parent: int) -> None:
    """End this process soon after its parent, which may be killed; it may hold a device."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _call_kept(*arguments: Any) -> Any:
    return _kept(*arguments)


def _result(future: Future[T], again: Callable[[], Future[T]]) -> T:
    """Wait for a call; begin it again if its pool broke.

    A worker that dies takes all calls that are under way with it. Nothing new is begun meanwhile,
    so that the third attempt at the latest is the only call: if it fails, this call is to blame.
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
    check_devices(execution)
    threads = max(1, cores() // size)
    manager = SyncManager(ctx=get_context("spawn"))  # a child of this process itself
    manager.start(end_with, (os.getpid(),))
    with manager, tempfile.TemporaryDirectory() as folder:
        values = manager.Queue()
        executor = ProcessPoolExecutor(
            size,
            env={"OMP_NUM_THREADS": str(threads)},
            initializer=end_with,
            initargs=(os.getpid(),),
        )
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
        if isinstance(failure, TerminatedWorkerError | RankDiedError):
            raise RankDiedError(failure) from failure
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
