"""The one seam through which per-image work reaches processes, devices or a cluster."""

from affinitynet.execution.local import Execution, pick_device, stream
from affinitynet.execution.progress import track

__all__ = ["Execution", "pick_device", "stream", "track"]
