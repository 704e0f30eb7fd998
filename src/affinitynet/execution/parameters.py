"""Where the work is done: the parameters `execution`, free of any engine."""

from dataclasses import dataclass

ENGINES = {
    "local": "affinitynet.execution.local",
    "ray": "affinitynet.execution.ray",
}
"""Name of each engine -> its module, see `affinitynet.execution.engine.Engine`."""


def cores() -> int:
    """Number of cores that this process may use: of this machine, or of its container's quota."""
    from loky import cpu_count  # it knows every platform, and costs an import

    return int(cpu_count())


@dataclass(frozen=True)
class Execution:
    """Where the work is done (`execution` in the parameters).

    Attributes:
        engine: One of `ENGINES`.
        address: Of the engine's cluster: `auto` or `<host>:<port>`; None for this machine alone.
        workers: Processes for per-image work, 1 or more; 0 takes one a core.
        devices: Processes that run networks, each on a device of its own: they share every batch
            of training, and the photos of inference.
        device: `cpu`, `cuda`, `cuda:1`, …; `auto` takes CUDA where there is one.
        worker_cpus: Cores that a cluster reserves for each process.
        worker_gpus: GPUs that a cluster reserves for each process that runs networks.
    """

    engine: str = "local"
    address: str | None = None
    workers: int = 0
    devices: int = 1
    device: str = "auto"
    worker_cpus: float = 1
    worker_gpus: float = 0

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"execution.engine is '{self.engine}'; give {' or '.join(ENGINES)}.")
        for name, least in (("workers", 0), ("devices", 1), ("worker_gpus", 0)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"execution.{name} is {getattr(self, name)}; it must be {least} or more."
                )
        if self.worker_cpus <= 0:
            raise ValueError(f"execution.worker_cpus is {self.worker_cpus}; it must be above 0.")
        if self.devices > 1 and ":" in self.device:
            raise ValueError(
                f"execution.device is '{self.device}', one device, but execution.devices is "
                f"{self.devices}; use 'cuda' to take the first {self.devices}."
            )

    @property
    def processes(self) -> int:
        """Number of processes for per-image work on this machine."""
        return self.workers or cores()

    @property
    def in_process(self) -> bool:
        """Whether inference runs in this process, on its device."""
        return self.engine == "local" and self.devices == 1
