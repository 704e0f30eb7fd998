"""The engine `ray`: tasks of a Ray cluster, which schedules them and retries those that die."""

import logging
import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from affinitynet.errors import UserError
from affinitynet.execution.engine import ATTEMPTS, PATIENCE, RankDiedError, WorkerDiedError
from affinitynet.execution.group import run_rank
from affinitynet.execution.parameters import Execution

# Read when Ray is imported: nothing phones home, no cluster serves whoever reaches its port, what
# runs out of memory is not tried again for ever, and a host that was cut off is noticed after a
# minute and a half and not after seven (Ray's servers refuse who asks more than once a minute).
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_task_oom_retries", str(ATTEMPTS - 1))
os.environ.setdefault("RAY_grpc_client_keepalive_time_ms", "70000")
os.environ.setdefault("RAY_grpc_client_keepalive_timeout_ms", "20000")

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

T = TypeVar("T")


@contextmanager
def pool(
    function: Callable[..., T], *, total: int, execution: Execution, networks: bool
) -> Iterator[tuple[int, Callable[..., Callable[[], T]]]]:
    """See `affinitynet.execution.engine.Engine`. Every call is a task."""
    gpus = execution.worker_gpus if networks else 0
    connect(execution)
    _check_room(1, execution, networks)
    task = ray.remote(
        num_cpus=execution.worker_cpus,
        num_gpus=gpus,
        max_retries=ATTEMPTS - 1,
        max_calls=0,  # a process serves many tasks, also with a GPU
    )(_call)
    shared = ray.put(function)  # once, and not with every task

    def submit(*arguments: Any) -> Callable[[], T]:
        return partial(_result, task.remote(shared, *arguments))

    everything = 2 * int(ray.cluster_resources()["CPU"] // execution.worker_cpus)
    yield execution.devices if networks else max(1, execution.workers or everything), submit


def _call(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error
    except (WorkerCrashedError, OutOfMemoryError) as error:
        raise WorkerDiedError from error


def launch(loop: Callable[[], Iterator[T]], *, execution: Execution) -> Iterator[T]:
    """See `affinitynet.execution.engine.Engine`. Every rank is a task that streams its values."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    connect(execution)
    _check_room(execution.devices, execution, networks=True)
    share = {"CPU": execution.worker_cpus, "GPU": execution.worker_gpus}
    together = placement_group([share] * execution.devices)  # all at once, or none
    host = ray.util.get_node_ip_address()
    store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
    task = ray.remote(
        num_returns="streaming",
        num_cpus=execution.worker_cpus,
        num_gpus=execution.worker_gpus,
        max_retries=0,
        max_calls=1,  # a process that failed is still one of its group
        scheduling_strategy=PlacementGroupSchedulingStrategy(together),
    )(_rank)
    try:
        while not together.wait(PATIENCE):  # a node may be lost that still counts
            _check_room(execution.devices, execution, networks=True)
        running = [
            task.remote(loop, host, store.port, rank, execution)
            for rank in range(execution.devices)
        ]
        errors: list[Any] = []
        while running:
            ready, _ = ray.wait(running, timeout=PATIENCE if errors else None)
            if not ready:
                break
            try:
                value = ray.get(next(ready[0]))
            except StopIteration:
                running.remove(ready[0])
            except RayError as error:
                running.remove(ready[0])
                errors.append(error)
            else:
                yield value
    finally:
        remove_placement_group(together)  # and whatever still runs in it
    for failure in errors:
        if not isinstance(failure, RayTaskError) or isinstance(failure.cause, RankDiedError):
            raise RankDiedError(failure) from failure
    if errors:
        raise errors[0].cause from errors[0]


def _rank(
    loop: Callable[[], Iterator[Any]], host: str, port: int, rank: int, execution: Execution
) -> Iterator[Any]:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    yield from run_rank(loop, TCPStore(host, port, is_master=False), rank, 0, execution)


def _check_room(processes: int, execution: Execution, networks: bool) -> None:
    """Report what the cluster lacks; Ray itself would wait for it, or use one GPU for all."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = execution.worker_cpus, execution.worker_gpus if networks else 0
    room = sum(_room(node, {"CPU": cpus, "GPU": gpus}) for node in nodes)
    there = Counter((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
    has = "The Ray cluster has " + ", ".join(
        f"{count} node(s) of {node_cpus:g} CPUs and {node_gpus:g} GPUs"
        for (node_cpus, node_gpus), count in sorted(there.items())
    )
    if room < processes:
        raise UserError(
            f"{has}: room for {room} processes of {cpus:g} CPUs and {gpus:g} GPUs, but {processes} "
            "must run at once, each on one node; lower execution.devices, execution.worker_cpus "
            "or execution.worker_gpus, or add nodes"
        )
    if networks and not gpus and execution.device != "cpu" and any(gpus for _, gpus in there):
        raise UserError(
            f"{has}, but execution.worker_gpus is 0, so that all networks of a node would share "
            "its first GPU; set execution.worker_gpus=1, or execution.device=cpu to use none"
        )


def _room(node: dict[str, float], share: dict[str, float]) -> int:
    """Count the processes that find their share of a node's resources at once."""
    return min(int(node.get(name, 0) / each + 1e-6) for name, each in share.items() if each)


def connect(execution: Execution) -> None:
    """Connect to the cluster of `execution.address`; start one on this machine where it is None.

    Raises:
        UserError: If there is no cluster at the address, or it refuses.
    """
    if ray.is_initialized():
        return
    options: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
    if execution.address is None:
        # Ray listens on every interface; who lacks the token is refused.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray.init("local", include_dashboard=False, **options)
        return
    package = Path(__file__).parents[1]
    try:
        if execution.address != "auto":  # Ray itself would try for minutes
            host, _, port = execution.address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(execution.address, runtime_env={"py_modules": [str(package)]}, **options)
    except (OSError, ValueError, RayError, RuntimeError) as error:
        raise UserError(
            f"execution.address is '{execution.address}', but no Ray cluster answers there: "
            f"{error}\nStart one (ray start --head), or set RAY_AUTH_MODE (here: "
            f"{os.environ['RAY_AUTH_MODE']}) and RAY_AUTH_TOKEN to those of its start."
        ) from error
