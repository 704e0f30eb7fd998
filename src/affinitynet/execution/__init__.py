"""The one seam through which per-image work and training reach processes, devices or a cluster."""

from affinitynet.execution.devices import pick_device
from affinitynet.execution.engine import (
    CHUNK,
    RankDiedError,
    chunks,
    launch,
    map_images,
    map_shown,
)
from affinitynet.execution.items import ItemHandlers, handle_items, item_handlers
from affinitynet.execution.parameters import Execution
from affinitynet.execution.progress import track

__all__ = [
    "CHUNK",
    "Execution",
    "ItemHandlers",
    "RankDiedError",
    "chunks",
    "handle_items",
    "item_handlers",
    "launch",
    "map_images",
    "map_shown",
    "pick_device",
    "track",
]
