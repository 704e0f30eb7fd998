"""A trial of the networks that a run trains, before its first node."""

from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches
from typing import Any

from affinitynet.errors import UserError
from affinitynet.pipelines.parameters import Parameters
from affinitynet.pipelines.training import network_config

CLASSES = {"one": 1, "two": 2}
"""In place of the data set's, which are not known yet: any number will do."""


def check_networks(nodes: Collection[str], parameters: Parameters) -> None:
    """Build each network that the run trains, at each stride that it is used at.

    They are built on torch's meta device, which has shapes and no numbers, and applied to a batch
    there: about a second in all. Files of weights are read. A run that trains nothing does not
    import torch for this.

    Args:
        nodes: Names of the run's nodes.
        parameters: All of them.

    Raises:
        UserError: If a network cannot be built, trained or applied as its parameters ask.
    """
    stages: dict[str, tuple[str, Any, dict[str, int]]] = {
        "cam": ("cam", parameters.cam, dict(_scale_strides("cam", parameters.cam.inference))),
        "affinity_training": (
            "affinity",
            parameters.affinity_training,
            {"revision.random_walk.output_stride": parameters.revision.random_walk.output_stride},
        ),
        "segmentation": (
            "segmentation",
            parameters.segmentation,
            dict(_scale_strides("segmentation", parameters.segmentation.inference))
            | {"export.onnx.output_stride": parameters.export.onnx.output_stride},
        ),
    }
    problems: list[str] = []
    shapes: dict[str, Any] = {}
    for stage, (kind, block, strides) in stages.items():
        if f"{stage}.initialise" in nodes:
            try:
                shapes[stage] = _check_network(stage, kind, block, strides)
                if stage != "cam" and block.network.weights is None and "cam" in shapes:
                    _compare_backbones(stage, shapes["cam"], shapes[stage])
            except UserError as error:
                problems.append(str(error))
    if problems:
        raise UserError("Networks cannot be made:" + "".join(f"\n  {line}" for line in problems))


def _scale_strides(stage: str, inference: Any) -> Iterator[tuple[str, int]]:
    for i, (_, stride) in enumerate(inference.scales):
        yield f"{stage}.inference.scales[{i}][1]", stride


def _check_network(stage: str, kind: str, block: Any, strides: dict[str, int]) -> dict[str, Any]:
    """Try one network; return the shapes of its backbone's weights by name."""
    import torch

    from affinitynet.networks.checkpoint import build, initialise

    config = network_config(kind, block.network, CLASSES)

    def make(stride: int | None = None) -> Any:
        with torch.device("meta"):
            return build(config, output_stride=stride)

    network = _attempt(f"{stage}.network", make)
    crop, size = block.augmentation.crop, min(block.training.batch_size, 2)
    photos = torch.zeros(size, 3, crop, crop, device="meta")
    modules = dict(network.named_modules())
    for name in block.training.frozen:
        if name not in modules:
            near = get_close_matches(name, modules, n=1)
            hint = f"did you mean {near[0]}?" if near else "its parts are backbone.trunk.…"
            raise UserError(f"{stage}.training.frozen: the network has no part '{name}'; {hint}")
    if block.training.epochs:
        network.train()
        network.backbone.train(not block.training.fixed_norms)
        _attempt(f"{stage}.augmentation.crop is {crop}, .batch_size {size}", network, photos)
    tried = {None, block.network.backbone.output_stride}
    for name, stride in strides.items():
        if stride not in tried:
            _attempt(f"{name} is {stride}", make, stride)
            tried.add(stride)
    if block.network.weights or (stage == "cam" and block.network.backbone.weights):
        _attempt(f"{stage}.network", lambda: initialise(config, seed=0))
    return {name: tuple(each.shape) for name, each in network.backbone.state_dict().items()}


def _attempt(what: str, work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return work(*arguments)
    except Exception as error:  # of any kind: it is timm and torch that refuse
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{what}: {reason}") from error


def _compare_backbones(stage: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    if ours != theirs:
        name = next(iter(dict(ours.items() ^ theirs.items())))
        raise UserError(
            f"{stage}.network.backbone takes over the weights of cam.network.backbone, but they "
            f"differ in {name}; give both the same name and options"
        )
