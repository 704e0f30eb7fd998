"""How networks are trained: the parameters and their ranges, free of torch."""

from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt

from affinitynet.core.ranges import (
    Flag,
    NonNegative,
    NonNegativeInt,
    Number,
    PositiveInt,
    Probability,
    Share,
    Text,
    parameters,
)


@parameters
class TrainingParameters:
    """How a network is trained.

    Attributes:
        epochs: Passes over the samples; 0 keeps the weights that training would start from.
        least_steps: Where so many passes are fewer steps, there are more of them.
        rare_share: A photo of a class that a smaller share of the photos shows comes
            sqrt(rare_share / share) times in an epoch; 0: each comes once.
        batch_size: Samples a step; the last ones of an epoch are left out if they are fewer.
        learning_rate: Of the backbone, at the start.
        head_learning_rate: Of all that is new above the backbone.
        bias_rate: Factor on both rates for the biases of convolutions.
        optimiser: "sgd" (paper), or "adamw" (Loshchilov and Hutter, ICLR 2019).
        momentum: Of SGD; AdamW's beta_1.
        weight_decay: L2 penalty, AdamW's apart from the gradient; biases and norms are spared.
        power: Of the polynomial decay: rate x (1 - step / steps)^power.
        warmup: Share of the steps over which both rates rise linearly from zero.
        frozen: Parts of the network that keep their weights, and their norms' statistics, by
            module name: ["backbone"], or ["backbone.trunk.conv_stem", ...].
        fixed_norms: Keep the batch norms of the backbone at their statistics, as the authors'
            release does: those of a small batch are worse than those of the pretrained weights.
        precision: "float32", or "bfloat16" for mixed precision; "auto" takes the faster one.
        workers: Processes that prepare the samples; 0 to do it in this one. None leaves it open:
            0 on a CPU, most of the cores on a GPU.
        cache_megabytes: Memory for decoded photos; those beyond are decoded each time.
        compile: On a GPU, compile the network before its first step (torch.compile).
    """

    epochs: NonNegativeInt
    least_steps: NonNegativeInt = 0
    rare_share: Share = 0.0
    batch_size: PositiveInt = 16
    learning_rate: NonNegative = 0.01
    head_learning_rate: NonNegative = 0.1
    bias_rate: NonNegative = 1.0
    optimiser: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[Number, Ge(0), Lt(1)] = 0.9
    weight_decay: NonNegative = 5e-4
    power: NonNegative = 0.9
    warmup: Annotated[Number, Ge(0), Lt(1)] = 0.0
    frozen: tuple[Text, ...] = ()
    fixed_norms: Flag = True
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    workers: NonNegativeInt | None = None
    cache_megabytes: NonNegative = 1024
    compile: Flag = False

    def count_epochs(self, samples: int) -> int:
        """Count the passes over so many samples: few of them are seen more often."""
        steps = max(samples // self.batch_size, 1)
        return max(self.epochs, -(-self.least_steps // steps)) if self.epochs else 0


@parameters
class Augmentation:
    """Random augmentation of a photo (and its label map) in training.

    Attributes:
        crop: Side of the square crop in pixels. Beyond the photo it is grey, and
            ignored in the labels.
        long_side: Smallest and largest length in pixels that the longer side is resized to; None
            leaves photos as large as they are.
        flip: Probability of mirroring left and right.
        jitter: Strength of the random changes of brightness, contrast and saturation, from 0.
        hue: Strength of the random change of hue, from 0 to 0.5.
    """

    crop: PositiveInt = 224
    long_side: tuple[PositiveInt, PositiveInt] | None = (224, 320)
    flip: Probability = 0.5
    jitter: NonNegative = 0.3
    hue: Annotated[Number, Ge(0), Le(0.5)] = 0.0

    def __post_init__(self) -> None:
        if self.long_side and self.long_side[0] > self.long_side[1]:
            raise ValueError(f"long_side is {[*self.long_side]}; swap them")
