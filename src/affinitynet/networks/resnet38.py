"""ResNet-38, the paper's backbone.

Model A1 of Wu, Shen & van den Hengel, "Wider or Deeper: Revisiting the ResNet Model for Visual
Recognition" (https://arxiv.org/abs/1611.10080), without its classifier and with the strides of its
last three levels traded for dilations: output stride 8. Attributes have the names of AffinityNet's
released checkpoints, so those load as they are.

timm knows it as `resnet38` once this module is imported.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from affinitynet.networks.timm_parts import register_model
from affinitynet.networks.trunk import Trunk


class FrozenNorm(nn.BatchNorm2d):
    """Batch norm that keeps its statistics, scale and shift, whatever the mode of the network."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenNorm":
        """Stay in evaluation mode."""
        return super().train(False)


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU; levels 2 to 5.

    The shortcut is the input itself, or, where the shape changes, a 1x1 convolution of the
    activated input.

    Args:
        middle: Channels between the convolutions.
        channels: Channels of the output.
        stride: Of the first convolution.
        first_dilation: Of the first convolution.
        dilation: Of the second convolution.
    """

    def __init__(
        self,
        channels_in: int,
        middle: int,
        channels: int,
        *,
        stride: int = 1,
        first_dilation: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.bn_branch2a = FrozenNorm(channels_in)
        self.conv_branch2a = _conv3x3(channels_in, middle, first_dilation, stride)
        self.bn_branch2b1 = FrozenNorm(middle)
        self.conv_branch2b1 = _conv3x3(middle, channels, dilation)
        self.conv_branch1: nn.Conv2d | None = None
        if stride != 1 or channels_in != channels:
            self.conv_branch1 = nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output and the activated input."""
        activated = functional.relu(self.bn_branch2a(x), inplace=True)
        shortcut = x if self.conv_branch1 is None else self.conv_branch1(activated)
        y = self.conv_branch2a(activated)
        y = self.conv_branch2b1(functional.relu(self.bn_branch2b1(y), inplace=True))
        return shortcut + y, activated


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each after batch norm and ReLU; levels 6 and 7.

    Args:
        channels: Channels of the output; a quarter and a half of them in between.
        dilation: Of the 3x3 convolution.
        dropout: Probability of dropping a channel before the second and third convolution.
    """

    def __init__(self, channels_in: int, channels: int, *, dilation: int, dropout: float) -> None:
        super().__init__()
        self.bn_branch2a = FrozenNorm(channels_in)
        self.conv_branch2a = nn.Conv2d(channels_in, channels // 4, 1, bias=False)
        self.bn_branch2b1 = FrozenNorm(channels // 4)
        self.conv_branch2b1 = _conv3x3(channels // 4, channels // 2, dilation)
        self.bn_branch2b2 = FrozenNorm(channels // 2)
        self.conv_branch2b2 = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.conv_branch1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output and the activated input."""
        activated = functional.relu(self.bn_branch2a(x), inplace=True)
        y = self.conv_branch2a(activated)
        y = self.conv_branch2b1(self.dropout(functional.relu(self.bn_branch2b1(y), inplace=True)))
        y = self.conv_branch2b2(self.dropout(functional.relu(self.bn_branch2b2(y), inplace=True)))
        return self.conv_branch1(activated) + y, activated


class ResNet38(Trunk):
    """The network up to the last batch norm and ReLU.

    Its maps (`feature_info`) are the activated inputs of levels 3 to 6 and the output.

    Raises:
        ValueError: If the output stride is not 8.
    """

    feature_info = (
        {"num_chs": 128, "reduction": 2, "module": "b3"},
        {"num_chs": 256, "reduction": 4, "module": "b4"},
        {"num_chs": 512, "reduction": 8, "module": "b5"},
        {"num_chs": 1024, "reduction": 8, "module": "b6"},
        {"num_chs": 4096, "reduction": 8, "module": "bn7"},
    )
    num_features = 4096

    def __init__(self, *, output_stride: int = 8) -> None:
        super().__init__()
        if output_stride != 8:
            raise ValueError(f"backbone: resnet38 has output stride 8, not {output_stride}")
        self.conv1a = _conv3x3(3, 64)
        self.b2 = WideBlock(64, 128, 128, stride=2)
        self._repeat("b2", 2, 128, 128)
        self.b3 = WideBlock(128, 256, 256, stride=2)
        self._repeat("b3", 2, 256, 256)
        self.b4 = WideBlock(256, 512, 512, stride=2)
        self._repeat("b4", 5, 512, 512)
        self.b5 = WideBlock(512, 512, 1024, dilation=2)
        self._repeat("b5", 2, 512, 1024, dilation=2)
        self.b6 = BottleneckBlock(1024, 2048, dilation=4, dropout=0.3)
        self.b7 = BottleneckBlock(2048, 4096, dilation=4, dropout=0.5)
        self.bn7 = FrozenNorm(4096)

    def _repeat(
        self, level: str, times: int, middle: int, channels: int, *, dilation: int = 1
    ) -> None:
        """Add `times` blocks of one shape to a level, named b2_1 and so on."""
        for i in range(1, times + 1):
            block = WideBlock(
                channels, middle, channels, first_dilation=dilation, dilation=dilation
            )
            self.add_module(f"{level}_{i}", block)

    def activations(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the activated input of each block, and the output; see `Trunk`."""
        x = self.conv1a(images)
        for name, block in self.named_children():
            if isinstance(block, WideBlock | BottleneckBlock):
                x, activated = block(x)
                yield name, activated
        yield "bn7", functional.relu(self.bn7(x), inplace=True)


def from_mxnet(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the arrays of the published ImageNet weights (`affinitynet.networks.mxnet`).

    `arg:res4b5_branch2a_weight` becomes `b4_5.conv_branch2a.weight`, `aux:bn4a_branch2a_moving_var`
    becomes `b4.bn_branch2a.running_var`. The classifier `linear1000` is left out.

    Args:
        arrays: Name to array, as in `ilsvrc-cls_rna-a1_cls1000_ep-0001.params`.

    Returns:
        The state dict of `ResNet38`.

    Raises:
        ValueError: If a name is none of ResNet-38's.
    """
    entries = {
        "weight": "weight",
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_var": "running_var",
    }
    state = {}
    for full_name, array in arrays.items():
        unit, _, rest = full_name.rpartition(":")[2].partition("_")
        branch, _, entry = rest.rpartition("branch")[2].partition("_")
        if unit == "linear1000":
            continue
        if unit in ("conv1a", "bn7") and rest in entries:
            state[f"{unit}.{entries[rest]}"] = array
        elif unit[:3] in ("res", "bn2", "bn3", "bn4", "bn5", "bn6", "bn7") and entry in entries:
            kind = "conv" if unit.startswith("res") else "bn"
            level, _, repeat = unit.removeprefix("res").removeprefix("bn").partition("b")
            block = f"b{level}_{repeat}" if repeat else f"b{level.removesuffix('a')}"
            state[f"{block}.{kind}_branch{branch}.{entries[entry]}"] = array
        else:
            raise ValueError(f"'{full_name}' is no array of ResNet-38")
    return state


@register_model  # type: ignore[untyped-decorator, unused-ignore]
def resnet38(pretrained: bool = False, *, output_stride: int = 8, **unused: Any) -> ResNet38:
    """Build the network as timm's `create_model` does; it has no classifier and no weights."""
    return ResNet38(output_stride=output_stride)


def _conv3x3(channels_in: int, channels: int, dilation: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in, channels, 3, stride, padding=dilation, dilation=dilation, bias=False
    )
