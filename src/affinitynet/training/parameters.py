"""How networks are trained: the parameters and their ranges, free of torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainingParameters:
    """How a network is trained.

    Attributes:
        epochs: Passes over the samples; 0 keeps the weights that training would start from.
        batch_size: Samples a step; the last ones of an epoch are left out if they are fewer.
        learning_rate: Of the backbone, at the start.
        head_learning_rate: Of all that is new above the backbone.
        bias_rate: Factor on both rates for the biases of convolutions.
        momentum: Of SGD.
        weight_decay: L2 penalty; biases and norms are spared.
        power: Of the polynomial decay: rate x (1 - step / steps)^power.
        warmup: Share of the steps over which both rates rise linearly from zero.
        frozen: Parts of the network that keep their weights, and their norms' statistics, by
            module name: ["backbone"], or ["backbone.trunk.conv_stem", ...].
        fixed_norms: Keep the batch norms of the backbone at their statistics, as the authors'
            release does: those of a small batch are worse than what the weights came with.
        precision: "float32", or "bfloat16" for mixed precision; "auto" takes the faster one.
        workers: Processes that prepare the samples; 0 to do it in this one.
        cache_megabytes: Memory for decoded photos; those beyond are decoded each time.
    """

    epochs: int
    batch_size: int = 16
    learning_rate: float = 0.01
    head_learning_rate: float = 0.1
    bias_rate: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    power: float = 0.9
    warmup: float = 0.0
    frozen: tuple[str, ...] = ()
    fixed_norms: bool = True
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    workers: int = 0
    cache_megabytes: float = 1024

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (("epochs", 0), ("batch_size", 1), ("workers", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"training.{name}: {value!r}; give a whole number, {least} or more"
                )
        for name in ("learning_rate", "head_learning_rate", "bias_rate", "momentum", "power"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or value < 0:
                raise ValueError(f"training.{name}: {value!r}; give a number, 0 or more")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"training.warmup: {self.warmup}; give a share from 0 to below 1")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(
                f"training.precision: '{self.precision}'; give 'auto', 'float32' or 'bfloat16'"
            )


@dataclass(frozen=True)
class Augmentation:
    """How a photo (and its label map) is varied in training.

    Attributes:
        crop: Side of the square crop in pixels. What it shows beyond the photo is grey, and
            ignored in the labels.
        long_side: Smallest and largest length in pixels that the longer side is resized to; None
            leaves photos as large as they are.
        flip: Probability of mirroring left and right.
        jitter: Strength of the random changes of brightness, contrast and saturation, from 0.
        hue: Strength of the random change of hue, from 0 to 0.5.
    """

    crop: int = 224
    long_side: tuple[int, int] | None = (224, 320)
    flip: float = 0.5
    jitter: float = 0.3
    hue: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.long_side:
            smallest, largest = self.long_side
            if not 0 < smallest <= largest:
                raise ValueError(
                    f"augmentation.long_side: [{smallest}, {largest}] is no range of pixels; "
                    "give the smallest first, both above 0"
                )
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"augmentation.hue: {self.hue}; give 0 to 0.5")
        if self.crop < 1:
            raise ValueError(f"augmentation.crop: {self.crop} pixels; give at least 1")
