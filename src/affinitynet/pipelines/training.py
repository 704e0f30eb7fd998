"""The nodes that every trained stage has: start, train, and keep what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from kedro.pipeline.node import Node
from PIL import Image
from pydantic_core import to_jsonable_python

from affinitynet.core.checkpoint import Checkpoint, NetworkConfig
from affinitynet.core.label_maps import Classes, LabelMap, decode
from affinitynet.data.corrections import Corrected, corrected_labels
from affinitynet.data.files import Partitions
from affinitynet.data.report import one_hot
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError
from affinitynet.execution import Execution, RankDiedError, launch, pick_device, track
from affinitynet.networks.parameters import AffinityNetwork, CAMNetwork, SegmentationNetwork
from affinitynet.pipelines.graph import make_node
from affinitynet.pipelines.parameters import CAM, AffinityTraining, Segmentation
from affinitynet.training.parameters import Augmentation, TrainingParameters

if TYPE_CHECKING:
    from torch.utils.data import Dataset

NAMES = {
    "cam": "Classifier",
    "affinity": "AffinityNet",
    "segmentation": "Segmentation network",
}
"""Kind of network to its name on progress bars."""


def training_nodes(
    initialise: Callable[..., Checkpoint],
    stage: str,
    *,
    parents: Sequence[str] = (),
    labels: str | None = None,
) -> list[Node]:
    """Build the first nodes of every trained stage.

    Args:
        initialise: Makes its first checkpoint.
        parents: Catalog entries of the networks that it starts from.
        labels: Catalog entry of the label maps that it learns from; None: it learns from tags.
    """
    given = f"params:{stage} classes params:seed {' '.join(parents)}"
    supervision = f"{labels} corrected params:corrected_repeats" if labels else ""
    samples = f"index photos params:{stage} params:seed params:execution {supervision}"
    return [
        make_node(initialise, given, "initial", name="initialise"),
        make_node(
            train, f"initial {samples}", "checkpoints", name="train", tags="training", confirms=True
        ),
        make_node(
            select_final_checkpoint, "checkpoints", "model history", name="select_final_checkpoint"
        ),
    ]


class TrainedStage(Protocol):
    """The parameters of a stage that trains a network.

    The node `initialise` names the stage's own class, by which Kedro builds them.
    """

    @property
    def training(self) -> TrainingParameters:
        """How the network is trained."""

    @property
    def augmentation(self) -> Augmentation:
        """Augmentation of its samples."""


def initialise_classifier(cam: CAM, classes: Classes, seed: int) -> Checkpoint:
    """Make the checkpoint that the classifier's training starts from: epoch 0."""
    return _initialise(network_config("cam", cam.network, classes), seed)


def initialise_affinity_net(
    affinity_training: AffinityTraining, classes: Classes, seed: int, classifier: Checkpoint
) -> Checkpoint:
    """Make the checkpoint that AffinityNet's training starts from."""
    config = network_config("affinity", affinity_training.network, classes)
    return _initialise(config, seed, classifier)


def initialise_segmentation_net(
    segmentation: Segmentation, classes: Classes, seed: int, classifier: Checkpoint
) -> Checkpoint:
    """Make the checkpoint that the segmentation network's training starts from."""
    config = network_config("segmentation", segmentation.network, classes)
    config["inference"] = to_jsonable_python(segmentation.inference)
    return _initialise(config, seed, classifier)


def network_config(
    kind: str, network: CAMNetwork | AffinityNetwork | SegmentationNetwork, classes: Classes
) -> NetworkConfig:
    """Write a network's parameters as a checkpoint has them."""
    return {
        "kind": kind,
        "classes": classes,
        "backbone": to_jsonable_python(network.backbone),
        "weights": network.weights,
        "head": to_jsonable_python(network.head),
    }


def _initialise(config: NetworkConfig, seed: int, parent: Checkpoint | None = None) -> Checkpoint:
    from affinitynet.networks.checkpoint import initialise

    try:
        return initialise(config, seed=seed, backbone_from=parent)
    except (TypeError, ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        raise UserError(
            f"The {config['kind']} network cannot be made (parameters network): {error}"
        ) from error


def train(
    initial: Checkpoint,
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    stage: TrainedStage,
    seed: int,
    execution: Execution,
    *supervision: Any,
) -> Iterator[dict[str, Checkpoint]]:
    """Train a network on the training photos: on their tags, or on label maps.

    Args:
        initial: First checkpoint of the network.
        stage: How to train.
        seed: Of the samples' order and augmentation.
        supervision: Of a network that learns from label maps: the maps, the user's corrected ones,
            which take their place, and the times that a corrected photo is used in an epoch.

    Yields:
        The checkpoint after each epoch, by the epoch's number, four digits.
    """
    from affinitynet.training.losses import LOSSES

    classes = initial.config["classes"]
    loss = LOSSES[initial.config["kind"]]
    if isinstance(stage, AffinityTraining):
        loss = partial(loss, radius=stage.radius)
    if supervision:
        samples = _labelled_photos(index, photos, classes, stage, seed, supervision)
    else:
        samples = _tagged_photos(index, photos, classes, stage, seed)
    loop = partial(_train, samples, loss, stage.training, seed, execution)
    for checkpoint in launch(loop, initial, execution=execution):
        yield {f"{checkpoint.progress['epoch']:04d}": checkpoint}


def select_final_checkpoint(
    checkpoints: Mapping[str, Callable[[], Checkpoint]],
) -> tuple[Checkpoint, pd.DataFrame]:
    """Take the trained network from the last epoch's checkpoint.

    Returns:
        The checkpoint without the optimiser's state, and the training curves: one row per epoch.
    """
    last = checkpoints[max(checkpoints)]()
    columns = ["epoch", "step", "loss", "learning_rate"]
    history = pd.DataFrame(last.progress["history"], columns=columns)
    return replace(last, progress={}), history


def _tagged_photos(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    classes: Classes,
    stage: TrainedStage,
    seed: int,
) -> Callable[[], Dataset[Any]]:
    from affinitynet.training.samples import TaggedPhotos

    train = index[index["split"] == "train"]
    tags = _tags(train, classes)
    ids = _repeated(tags, stage, seed)
    return partial(
        TaggedPhotos, ids, photos, tags, stage.augmentation, cache_megabytes=_cache(stage)
    )


def _labelled_photos(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    classes: Classes,
    stage: TrainedStage,
    seed: int,
    supervision: tuple[Partitions[LabelMap], Corrected, int],
) -> Callable[[], Dataset[Any]]:
    from affinitynet.training.samples import LabelledPhotos

    labels, corrected, repeats = supervision
    values = list(classes.values())
    true = corrected_labels(corrected, index, classes)
    labels = {**labels, **true}
    train = index[(index["split"] == "train") & index.index.isin([*labels])]
    once = _repeated(_tags(train, classes), stage, seed)
    ids = [i for i in once for _ in range(repeats if i in true else 1)]
    maps = {i: partial(_read_labels, labels[i], values) for i in once}
    return partial(
        LabelledPhotos, ids, photos, maps, stage.augmentation, cache_megabytes=_cache(stage)
    )


def _tags(photos: pd.DataFrame, classes: Classes) -> dict[str, npt.NDArray[np.uint8]]:
    return dict(zip(photos.index, one_hot(photos, classes).to_numpy(np.uint8), strict=True))


def _repeated(
    tags: Mapping[str, npt.NDArray[np.uint8]], stage: TrainedStage, seed: int
) -> list[str]:
    """List the photos of an epoch: those of rare classes several times, if that is asked for."""
    from affinitynet.training.samples import repeat_rare

    share = stage.training.rare_share
    if not (share and tags):
        return [*tags]
    return [*np.repeat([*tags], repeat_rare(np.array([*tags.values()]), share, seed)).tolist()]


def _cache(stage: TrainedStage) -> float:
    return stage.training.cache_megabytes if stage.training.epochs else 0


def _train(
    samples: Callable[[], Dataset[Any]],
    loss: Callable[..., Any],
    training: TrainingParameters,
    seed: int,
    execution: Execution,
    start: Checkpoint,
) -> Iterator[Checkpoint]:
    """Train where the samples are read: in this process, or in each of those that share batches."""
    from affinitynet.networks.cuda import memory_errors
    from affinitynet.training import loop
    from affinitynet.training.ranks import rank

    def show(steps: Iterable[Any], description: str) -> Iterable[Any]:
        return steps if rank() else track(steps, f"{NAMES[start.config['kind']]}: {description}")

    try:
        with memory_errors("training.batch_size, or augmentation.crop,"):
            yield from loop.train(
                start,
                samples(),
                loss,
                training,
                seed=seed,
                device=pick_device(execution),
                progress=show,
            )
    except RuntimeError as error:
        if str(error).startswith("DataLoader worker (pid"):  # torch has no other sign of it
            raise RankDiedError(error) from error
        raise


def _read_labels(read: Callable[[], npt.NDArray[np.uint8]], values: list[int]) -> Image.Image:
    return Image.fromarray(decode(read(), values))
