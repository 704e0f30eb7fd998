"""Checkpoints: how a network is built, its weights, and how far its training has come."""

import json
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from affinitynet.core.checkpoint import Checkpoint as Checkpoint
from affinitynet.core.checkpoint import NetworkConfig
from affinitynet.networks import psa
from affinitynet.networks.affinity_net import AffinityNet
from affinitynet.networks.backbones import Backbone, pretrained, read_weights
from affinitynet.networks.cam_net import CAMNet
from affinitynet.networks.segmentation_net import SegmentationNet

logger = getLogger(__name__)


def build(config: NetworkConfig, *, output_stride: int | None = None) -> nn.Module:
    """Build the network of a configuration, with random weights.

    Args:
        config: Kind, backbone, classes and head.
        output_stride: Stride instead of the one in the configuration.

    Raises:
        ValueError: If the kind is unknown or an argument does not fit.
    """
    arguments = {key: value for key, value in config["backbone"].items() if key != "weights"}
    if output_stride is not None:
        arguments["output_stride"] = output_stride
    backbone = Backbone(**arguments)
    head = dict(config.get("head", {}))
    match config["kind"]:
        case "cam":
            return CAMNet(backbone, len(config["classes"]), **head)
        case "affinity":
            return AffinityNet(backbone, **head)
        case "segmentation":
            return SegmentationNet(backbone, len(config["classes"]), **head)
        case kind:
            raise ValueError(f"network: unknown kind '{kind}'; cam, affinity or segmentation")


def initialise(
    config: NetworkConfig, *, seed: int, backbone_from: Checkpoint | None = None
) -> Checkpoint:
    """Make the checkpoint that training starts from.

    Heads are random. The backbone comes from another checkpoint, or has the weights that
    `config["backbone"]["weights"]` names (see `affinitynet.networks.backbones.pretrained`), or is
    random where that is None. Where `config["weights"]` names a file, the network starts from that
    instead: a checkpoint of this project, a state dict, or one of the authors' for ResNet-38. Heads
    that it does not have stay random.

    Args:
        config: Of the network.
        seed: Seed of the random weights.
        backbone_from: A checkpoint of a network with the same backbone.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the weights do not fit the network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(config)
    backbone: Any = network.backbone
    source = config["backbone"].get("weights")
    if (file := config.get("weights")) is not None:
        _start_from(network, Path(file))
    elif backbone_from is not None:
        theirs, ours = backbone_from.config["backbone"]["name"], config["backbone"]["name"]
        if theirs != ours:
            raise ValueError(f"backbone: the checkpoint has {theirs}, the configuration {ours}")
        prefix = "backbone."
        backbone.load_state_dict(
            {
                key.removeprefix(prefix): value
                for key, value in backbone_from.weights.items()
                if key.startswith(prefix)
            }
        )
    elif source is not None:
        options = config["backbone"].get("options")
        backbone.trunk.load_state_dict(pretrained(backbone.name, source, options))
    chosen = {key: value for key, value in config["backbone"].items() if value is not None}
    # timm's own mean, of today: a later version may have another
    config = {**config, "backbone": {**config["backbone"], **backbone.normalised_by, **chosen}}
    return Checkpoint(config=config, weights=snapshot(network))


def _start_from(network: nn.Module, path: Path) -> None:
    """Load a file's weights: the whole backbone, and the head if the file has this one."""
    if not path.is_file():
        raise FileNotFoundError(f"network.weights: no file '{path}'")
    state = read_weights(path)
    if psa.is_release(state):
        state = psa.rename(state)
    ours = network.state_dict()
    head = {key for key in ours if not key.startswith("backbone.")}
    if found := head & state.keys():
        if found != head:
            raise ValueError(f"{path}: has {sorted(found)}, but not {sorted(head - found)}")
    else:
        logger.warning("%s has no %s: it starts from random weights.", path, sorted(head))
    for key in state.keys() & ours.keys():
        if state[key].shape != ours[key].shape:
            raise ValueError(
                f"{path}: entry '{key}' has shape {tuple(state[key].shape)}, the network "
                f"needs {tuple(ours[key].shape)}; do classes, head and backbone agree?"
            )
    missing, _ = network.load_state_dict(
        {key: value for key, value in state.items() if key in ours}, strict=False
    )
    lacking = [key for key in missing if key.startswith("backbone.")]
    if lacking:
        raise ValueError(f"{path}: no entry '{lacking[0]}', which the backbone needs")


def restore(
    checkpoint: Checkpoint,
    *,
    output_stride: int | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Build a checkpoint's network with its weights, in evaluation mode.

    Args:
        checkpoint: From `initialise` or training.
        output_stride: Stride instead of the one that it was trained with.
        device: Where the network goes.
    """
    network = build(checkpoint.config, output_stride=output_stride)
    network.load_state_dict(checkpoint.weights)
    return network.to(device).eval()


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's weights to the CPU."""
    return {
        key: value.detach().to("cpu", copy=True).contiguous()
        for key, value in network.state_dict().items()
    }


def to_safetensors(checkpoint: Checkpoint, **more: Any) -> bytes:
    """Write a network for others: weights, and in the file's metadata the configuration as JSON.

    Left out: the progress of the training, and the files that it started from.

    Args:
        checkpoint: A trained network's.
        more: Further entries of the configuration; JSON can hold them.

    Returns:
        The content of a `.safetensors` file, for `read`.
    """
    config = {key: value for key, value in checkpoint.config.items() if key != "weights"}
    backbone = checkpoint.config["backbone"].items()
    config["backbone"] = {key: value for key, value in backbone if key != "weights"}
    # One entry: safetensors writes several in any order, and the same network should be one file.
    return save(checkpoint.weights, {"config": json.dumps(config | more)})


def read(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing is unpickled.

    Args:
        path: A file of `to_safetensors`, or a checkpoint of a run (.pt).

    Raises:
        ValueError: If the file cannot be read or is no checkpoint.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                config = json.loads((file.metadata() or {}).get("config", "null"))
            state = {"config": config, "weights": load_file(path)}
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # torch would advise to unpickle it all the same
        raise ValueError(
            f"{path}: cannot be read as a checkpoint (it does not hold only weights)"
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as a checkpoint ({reason})") from error
    if not isinstance(state, Mapping) or not isinstance(state.get("config"), Mapping):
        raise ValueError(
            f"{path}: holds no configuration of a network; weights without one cannot be used"
        )
    return Checkpoint(**state)
