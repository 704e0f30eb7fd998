"""VGG-16 as DeepLab has it (Chen et al., ICLR 2015), the paper's second backbone.

The first three pools halve the grid, the fourth does not, conv5 is dilated instead, and fc6 and fc7
are convolutions with 1024 channels: output stride 8. Attributes have DeepLab's names.

timm knows it as `vgg16_deeplab` once this module is imported.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from affinitynet.networks.timm_parts import register_model
from affinitynet.networks.trunk import Trunk

CHANNELS = {1: (64, 64), 2: (128, 128), 3: (256, 256, 256), 4: (512, 512, 512), 5: (512, 512, 512)}
"""Level -> channels of its 3x3 convolutions."""


class VGG16(Trunk):
    """The network up to fc7 with its ReLU.

    Its maps (`feature_info`) are conv3_3, conv4_3, conv5_3 and fc7, all after ReLU.

    Args:
        output_stride: Only 8.
        fc6_dilation: Dilation of fc6. The authors' release has 1 in the classifier and 4 in
            AffinityNet, DeepLab-LargeFOV 12; the weights are the same.

    Raises:
        ValueError: If the output stride is not 8.
    """

    feature_info = (
        {"num_chs": 256, "reduction": 4, "module": "conv3_3"},
        {"num_chs": 512, "reduction": 8, "module": "conv4_3"},
        {"num_chs": 512, "reduction": 8, "module": "conv5_3"},
        {"num_chs": 1024, "reduction": 8, "module": "fc7"},
    )
    num_features = 1024

    def __init__(self, *, output_stride: int = 8, fc6_dilation: int = 4) -> None:
        super().__init__()
        if output_stride != 8:
            raise ValueError(f"backbone: vgg16_deeplab has output stride 8, not {output_stride}")
        wide = 3
        for level, channels in CHANNELS.items():
            dilation = 2 if level == 5 else 1
            if level > 1:
                pool = nn.MaxPool2d(3, stride=1 if level == 5 else 2, padding=1)
                self.add_module(f"pool{level - 1}", pool)
            for i, narrow in enumerate(channels, start=1):
                conv = nn.Conv2d(wide, narrow, 3, padding=dilation, dilation=dilation)
                self.add_module(f"conv{level}_{i}", conv)
                wide = narrow
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=fc6_dilation, dilation=fc6_dilation)
        self.dropout = nn.Dropout2d(0.5)
        self.fc7 = nn.Conv2d(1024, 1024, 1)

    def activations(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the output of each layer after ReLU; see `Trunk`."""
        x = images
        for level, channels in CHANNELS.items():
            if level > 1:
                x = self.get_submodule(f"pool{level - 1}")(x)
            for i in range(1, len(channels) + 1):
                name = f"conv{level}_{i}"
                x = functional.relu(self.get_submodule(name)(x))
                yield name, x
        x = self.dropout(functional.relu(self.fc6(x)))
        yield "fc7", functional.relu(self.fc7(x))


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn torchvision's `vgg16` into the entries of `VGG16`.

    fc6 and fc7 take every fourth of the 4096 outputs of the fully connected layers, and fc6 every
    third of the 7 x 7 cells in each direction, as DeepLab's reduced weights do.

    Args:
        state: The state dict of `torchvision.models.vgg16`.

    Raises:
        ValueError: If an entry is missing or has another shape.
    """
    convolutions = [key.removesuffix(".weight") for key in state if key.startswith("features.")]
    ours = [f"conv{level}_{i + 1}" for level, c in CHANNELS.items() for i in range(len(c))]
    theirs = list(dict.fromkeys(key.removesuffix(".bias") for key in convolutions))
    dense = ("classifier.0", "classifier.3")
    if len(theirs) != len(ours) or any(f"{name}.weight" not in state for name in dense):
        raise ValueError("these are no weights of torchvision's vgg16")
    result = {
        f"{our}.{entry}": state[f"{their}.{entry}"]
        for our, their in zip(ours, theirs, strict=True)
        for entry in ("weight", "bias")
    }
    fc6, fc7 = (state[f"{name}.weight"] for name in dense)
    if fc6.shape != (4096, 512 * 7 * 7) or fc7.shape != (4096, 4096):
        raise ValueError("these are no weights of torchvision's vgg16")
    return result | {
        "fc6.weight": fc6.view(4096, 512, 7, 7)[::4, :, ::3, ::3].clone(),
        "fc6.bias": state["classifier.0.bias"][::4].clone(),
        "fc7.weight": fc7.view(4096, 4096, 1, 1)[::4, ::4].clone(),
        "fc7.bias": state["classifier.3.bias"][::4].clone(),
    }


@register_model  # type: ignore[untyped-decorator, unused-ignore]
def vgg16_deeplab(
    pretrained: bool = False, *, output_stride: int = 8, fc6_dilation: int = 4, **unused: Any
) -> VGG16:
    """Build the network as timm's `create_model` does; it has no classifier and no weights."""
    return VGG16(output_stride=output_stride, fc6_dilation=fc6_dilation)
