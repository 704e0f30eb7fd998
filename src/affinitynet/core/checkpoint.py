"""A network's configuration and weights, as training leaves them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a network needs to be used or trained further.

    It holds Python scalars, strings, lists, dicts and tensors only, so that
    `torch.load(weights_only=True)` reads it back: `Checkpoint(**torch.load(path))`.

    Attributes:
        config: What `build` takes:
            `kind`: "cam", "affinity" or "segmentation";
            `backbone`: arguments of `Backbone` and `weights`, see `initialise`;
            `classes`: name of each class -> its value in the masks, in the order of the labels;
            `weights`: file that the whole network starts from, see `initialise`;
            `head`: further arguments of the network's class.
        weights: The state dict, on the CPU.
        progress: What `affinitynet.training.loop.train` continues from; empty before training.
    """

    config: dict[str, Any]
    weights: "dict[str, Tensor]"
    progress: dict[str, Any] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Return the three fields as a plain dict, ready for `torch.save`."""
        return {"config": self.config, "weights": self.weights, "progress": self.progress}
