"""Where the work is done: the parameters `execution`, free of any engine."""

import re
from typing import Annotated

from affinitynet.core.ranges import (
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Text,
    matching,
    parameters,
)

ENGINES = {
    "local": "affinitynet.execution.local",
    "ray": "affinitynet.execution.ray",
}
"""Name of each engine -> its module, see `affinitynet.execution.engine.Engine`."""


def cores() -> int:
    """Number of cores that this process may use: of this machine, or of its container's quota."""
    from loky import cpu_count  # it knows every platform, and costs an import

    return int(cpu_count())


Device = Annotated[
    Text,
    matching(re.compile(r"auto|cpu|cuda(:\d+)?").fullmatch, "auto, cpu, cuda or cuda:<number>"),
]


@parameters
class Execution:
    """Where the work is done (`execution` in the parameters).

    Attributes:
        engine: One of `ENGINES`.
        address: Of the engine's cluster: `auto` or `<host>:<port>`; None for only this machine.
        workers: Processes for per-image work, 1 or more; 0 takes one a core.
        devices: Processes that run networks, each on a device of its own: they share every batch
            of training, and the photos of inference.
        device: `cpu`, `cuda`, `cuda:1`, …; `auto` takes CUDA where there is one.
        worker_cpus: Cores that a cluster reserves for each process.
        worker_gpus: GPUs that a cluster reserves for each process that runs networks.
    """

    engine: Annotated[Text, matching(ENGINES.__contains__, " or ".join(ENGINES))] = "local"
    address: Text | None = None
    workers: NonNegativeInt = 0
    devices: PositiveInt = 1
    device: Device = "auto"
    worker_cpus: Positive = 1
    worker_gpus: NonNegative = 0

    def __post_init__(self) -> None:
        if self.devices > 1 and ":" in self.device:
            raise ValueError(
                f"device is '{self.device}', one device, but devices is {self.devices}; use 'cuda' "
                f"to take the first {self.devices}"
            )

    @property
    def processes(self) -> int:
        """Number of processes for per-image work on this machine."""
        return self.workers or cores()

    @property
    def in_process(self) -> bool:
        """Whether inference runs in this process, on its device."""
        return self.engine == "local" and self.devices == 1
