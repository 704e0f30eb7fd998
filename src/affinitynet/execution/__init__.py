"""The one seam through which per-image work and training reach processes, devices or a cluster."""

from affinitynet.execution.ahead import ahead
from affinitynet.execution.devices import pick_device
from affinitynet.execution.engine import (
    CHUNK,
    RankDiedError,
    chunks,
    launch,
    map_images,
    savers,
    saving,
    stream,
    watchers,
)
from affinitynet.execution.parameters import Execution
from affinitynet.execution.progress import track

__all__ = [
    "CHUNK",
    "Execution",
    "RankDiedError",
    "ahead",
    "chunks",
    "launch",
    "map_images",
    "pick_device",
    "savers",
    "saving",
    "stream",
    "track",
    "watchers",
]
