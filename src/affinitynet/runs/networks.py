"""A trial of the networks that a run trains, and the network that it takes from another run."""

import glob
import json
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from affinitynet.errors import UserError
from affinitynet.networks.parameters import InferenceParameters
from affinitynet.pipelines.parameters import Parameters
from affinitynet.pipelines.training import network_config
from affinitynet.runs.record import RunRecord

MODEL = "segmentation.model"
"""Catalog entry, shared by all environments: the newest of them is taken."""

KINDS = {"cam": "cam", "affinity_training": "affinity", "segmentation": "segmentation"}
"""Stage to the kind of network that it trains."""

TRAINING = ("initialise", "train")
"""Names of the nodes that need the network that the parameters describe."""


def describe_model(version: str, records: Iterable[RunRecord], data: str) -> str:
    """Say which run made a network, how well it does, and how to take another one.

    Args:
        version: Of the network.
        data: The data folder, a path or the URL of an object store.
    """
    env = next((f", environment {each.env}" for each in records if each.version == version), "")
    files, root = url_to_fs(data)
    pattern = f"{glob.escape(root)}/08_reporting/*/segmentation/metrics.json/{version}/*.json"
    scores = [json.loads(files.cat_file(path)) for path in files.glob(pattern)]
    miou = next((f", mIoU {each['miou']:.3f} on val" for each in scores if "miou" in each), "")
    return (
        f"The network is {MODEL} {version}{env}{miou}. To take another one: "
        f"--load-versions {MODEL}:<version>"
    )


def check_networks(nodes: Collection[str], parameters: Parameters) -> None:
    """Build each network that the run trains, at each stride that it is used at.

    They are built on torch's meta device, which has shapes and no numbers, and applied to a batch
    there: about a second in all. Files of weights are read. A run that trains nothing does not
    import torch for this.

    Args:
        nodes: Names of the run's nodes.

    Raises:
        UserError: If a network cannot be built, trained or applied as its parameters ask.
    """
    strides: dict[str, dict[str, int | None]] = {
        "cam": _scale_strides("cam", parameters.cam.inference),
        "affinity_training": {
            "revision.random_walk.output_stride": parameters.revision.random_walk.output_stride
        },
        "segmentation": _scale_strides("segmentation", parameters.segmentation.inference),
    }
    if parameters.export.onnx:
        stride = parameters.export.onnx.output_stride
        strides["segmentation"]["export.onnx.output_stride"] = stride
    named = parameters.data_set.classes
    classes = [*named] if isinstance(named, tuple) else []  # else the tags name them
    problems: list[str] = []
    backbone = parameters.cam.network.backbone
    is_chosen = "cam.initialise" in nodes and parameters.backbone and parameters.weights == ""
    if is_chosen and not (backbone.weights or parameters.cam.network.weights):
        problems.append(
            f"backbone={backbone.name}: its weights are not known (conf/base/globals.yml lists "
            "networks that have some); give weights=pretrained to download timm's, weights=<file>, "
            "or weights=null for random ones"
        )
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    trained = (name.rpartition(".") for name in nodes)
    for stage in KINDS.keys() & {stage for stage, _, node in trained if node in TRAINING}:
        try:
            block = getattr(parameters, stage)
            onnx = stage == "segmentation" and "export.export_onnx" in nodes
            shapes[stage] = _check_network(stage, block, strides[stage], classes, writes_onnx=onnx)
        except UserError as error:
            problems.append(str(error))
    for stage in shapes.keys() - {"cam"} if "cam" in shapes else ():
        if getattr(parameters, stage).network.weights is None and shapes[stage] != shapes["cam"]:
            problems.append(
                f"{stage}.network.backbone takes over the weights of cam.network.backbone, but has "
                "others; give both the same name and options"
            )
    if problems:
        lines = "".join(f"\n  {line}" for line in sorted(problems))
        raise UserError(f"Networks cannot be made:{lines}")


def _scale_strides(stage: str, inference: InferenceParameters) -> dict[str, int | None]:
    strides = (stride for _, stride in inference.scales)
    return {f"{stage}.inference.scales[{i}][1]": stride for i, stride in enumerate(strides)}


def _check_network(
    stage: str,
    block: Any,
    strides: dict[str, int | None],
    classes: list[str],
    *,
    writes_onnx: bool,
) -> dict[str, tuple[int, ...]]:
    """Try one network; return the shapes of its backbone's weights by name."""
    import torch

    from affinitynet.networks.backbones import read_weights
    from affinitynet.networks.checkpoint import build, initialise

    config = network_config(KINDS[stage], block.network, dict.fromkeys(classes or ["any"], 0))

    def make(stride: int | None = None) -> Any:
        with torch.device("meta"):
            return build(config, output_stride=stride)

    network = _attempt(f"{stage}.network", make)
    if writes_onnx and network.backbone.tokens:
        raise UserError(
            f"{network.backbone.name} is a transformer, which is not written as ONNX; give "
            "export.onnx=null"
        )
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
    weights = block.network.weights
    if weights and not classes:  # the head may have any number of them
        _attempt(f"{stage}.network.weights", read_weights, Path(weights))
    elif weights or (stage == "cam" and block.network.backbone.weights):
        _attempt(f"{stage}.network", lambda: initialise(config, seed=0))
    return {name: tuple(each.shape) for name, each in network.backbone.state_dict().items()}


def _attempt(what: str, work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return work(*arguments)
    except Exception as error:  # of any kind: it is timm and torch that refuse
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{what}: {reason}") from error
