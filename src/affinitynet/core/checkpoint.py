"""A network's configuration and weights, as training leaves them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from affinitynet.core.label_maps import Classes

if TYPE_CHECKING:
    from torch import Tensor


class NetworkConfig(TypedDict):
    """How a network is built, as JSON.

    Attributes:
        kind: "cam", "affinity" or "segmentation".
        backbone: Arguments of `Backbone`, and `weights`, see `initialise`.
        classes: Name of each class to its value in the masks, in the order of the labels.
        weights: File that the whole network starts from, see `initialise`.
        head: Further arguments of the network's class.
        inference: How a segmentation network is applied, `SegmentationInference`.
    """

    kind: str
    backbone: dict[str, Any]
    classes: Classes
    weights: NotRequired[str | None]
    head: NotRequired[dict[str, Any]]
    inference: NotRequired[dict[str, Any]]


class Progress(TypedDict, total=False):
    """What `affinitynet.training.loop.train` continues from.

    Attributes:
        epoch: The last one that was finished.
        optimiser: Its state.
        bfloat16: Whether the epoch was computed in it.
        history: `epoch`, `step` (the last one), `loss` (the mean) and `learning_rate` (of the
            backbone, at the end) of each epoch.
    """

    epoch: int
    optimiser: dict[str, Any]
    bfloat16: bool
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a network needs to be used or trained further.

    It holds Python scalars, strings, lists, dicts and tensors only, so that
    `torch.load(weights_only=True)` reads it back: `Checkpoint(**torch.load(path))`.

    Attributes:
        config: What `build` takes.
        weights: The state dict, on the CPU.
        progress: Of the training; empty before it.
    """

    config: NetworkConfig
    weights: "dict[str, Tensor]"
    progress: Progress = field(default_factory=Progress)

    def state_dict(self) -> dict[str, Any]:
        """Return the three fields as a plain dict, ready for `torch.save`."""
        return {"config": self.config, "weights": self.weights, "progress": self.progress}
