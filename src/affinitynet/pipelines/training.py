"""The nodes that every trained stage has: start, train, and keep what came out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from pydantic_core import to_jsonable_python

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.label_maps import LabelMap, decode
from affinitynet.data.corrections import Corrected, corrected_labels
from affinitynet.data.files import Partitions
from affinitynet.errors import UserError
from affinitynet.execution import Execution, RankDiedError, launch, pick_device, track
from affinitynet.networks.parameters import (
    AffinityNetwork,
    CAMNetwork,
    SegmentationInference,
    SegmentationNetwork,
)
from affinitynet.training.parameters import Augmentation, TrainingParameters

if TYPE_CHECKING:
    from torch.utils.data import Dataset


def initialise_classifier(network: CAMNetwork, classes: dict[str, int], seed: int) -> Checkpoint:
    """Make the checkpoint that the classifier's training starts from: epoch 0."""
    return _initialise(network_config("cam", network, classes), seed)


def initialise_affinity_net(
    network: AffinityNetwork, classes: dict[str, int], seed: int, classifier: Checkpoint
) -> Checkpoint:
    """Make the checkpoint that AffinityNet's training starts from."""
    return _initialise(network_config("affinity", network, classes), seed, classifier)


def initialise_segmentation_net(
    network: SegmentationNetwork,
    classes: dict[str, int],
    seed: int,
    classifier: Checkpoint,
    inference: SegmentationInference,
) -> Checkpoint:
    """Make the checkpoint that the segmentation network's training starts from."""
    config = network_config("segmentation", network, classes)
    return _initialise(config | {"inference": to_jsonable_python(inference)}, seed, classifier)


def network_config(
    kind: str, network: CAMNetwork | AffinityNetwork | SegmentationNetwork, classes: dict[str, int]
) -> dict[str, Any]:
    """Write a network's parameters as `Checkpoint.config` has them."""
    config: dict[str, Any] = to_jsonable_python(network)
    return {"kind": kind, "classes": classes, **config}


def _initialise(config: dict[str, Any], seed: int, parent: Checkpoint | None = None) -> Checkpoint:
    from affinitynet.networks.checkpoint import initialise

    try:
        return initialise(config, seed=seed, backbone_from=parent)
    except (TypeError, ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        raise UserError(
            f"The {config['kind']} network cannot be made (parameters network): {error}"
        ) from error


def train_on_tags(
    initial: Checkpoint,
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    classes: dict[str, int],
    training: TrainingParameters,
    augmentation: Augmentation,
    seed: int,
    execution: Execution,
) -> Iterator[dict[str, Checkpoint]]:
    """Train the classifier on the training photos and their tags; no mask is involved.

    Yields:
        The checkpoint after each epoch, by the epoch's number, four digits.
    """
    from affinitynet.training.losses import classification_loss
    from affinitynet.training.samples import TaggedPhotos

    train = index[index["split"] == "train"]
    shown = train["tags"].str.get_dummies("|").reindex(columns=list(classes), fill_value=0)
    samples = partial(
        TaggedPhotos,
        list(train.index),
        photos,
        dict(zip(train.index, shown.to_numpy(np.uint8), strict=True)),
        augmentation,
        cache_megabytes=training.cache_megabytes if training.epochs else 0,
    )
    yield from _epochs(
        initial, samples, classification_loss, training, seed, execution, "Classifier"
    )


def train_on_pairs(
    initial: Checkpoint,
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    labels: Partitions[LabelMap],
    corrected: Corrected,
    repeats: int,
    classes: dict[str, int],
    training: TrainingParameters,
    augmentation: Augmentation,
    seed: int,
    execution: Execution,
    radius: int,
) -> Iterator[dict[str, Checkpoint]]:
    """Train AffinityNet on the training photos and pairs of labelled cells.

    The masks of corrected photos take the place of their confident pixels.

    Yields:
        The checkpoint after each epoch, by the epoch's number, four digits.
    """
    from affinitynet.training.losses import affinity_loss

    true = corrected_labels(corrected, index, classes)
    samples = _labelled_photos(
        index, photos, labels, true, repeats, classes, training, augmentation
    )
    loss = partial(affinity_loss, radius=radius)
    yield from _epochs(initial, samples, loss, training, seed, execution, "AffinityNet")


def train_on_pixels(
    initial: Checkpoint,
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    labels: Partitions[LabelMap],
    corrected: Corrected,
    repeats: int,
    classes: dict[str, int],
    training: TrainingParameters,
    augmentation: Augmentation,
    seed: int,
    execution: Execution,
) -> Iterator[dict[str, Checkpoint]]:
    """Train a segmentation network on the training photos and each labelled pixel.

    The masks of corrected photos take the place of their pseudo labels.

    Yields:
        The checkpoint after each epoch, by the epoch's number, four digits.
    """
    from affinitynet.training.losses import segmentation_loss

    true = corrected_labels(corrected, index, classes)
    samples = _labelled_photos(
        index, photos, labels, true, repeats, classes, training, augmentation
    )
    yield from _epochs(
        initial, samples, segmentation_loss, training, seed, execution, "Segmentation network"
    )


def select_final_checkpoint(
    checkpoints: Mapping[str, Callable[[], Checkpoint]],
) -> tuple[Checkpoint, pd.DataFrame]:
    """Take the trained network from the last epoch's checkpoint.

    Returns:
        The checkpoint without the optimiser's state, and the training curves: one row an epoch.
    """
    last = checkpoints[max(checkpoints)]()
    columns = ["epoch", "step", "loss", "learning_rate"]
    history = pd.DataFrame(last.progress["history"], columns=columns)
    return replace(last, progress={}), history


def _labelled_photos(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    labels: Partitions[LabelMap],
    true: Partitions[LabelMap],
    repeats: int,
    classes: dict[str, int],
    training: TrainingParameters,
    augmentation: Augmentation,
) -> "Callable[[], Dataset[Any]]":
    from affinitynet.training.samples import LabelledPhotos

    values = list(classes.values())
    labels = {**labels, **true}
    train = [i for i in index.index[index["split"] == "train"] if i in labels]
    ids = [i for i in train for _ in range(repeats if i in true else 1)]
    return partial(
        LabelledPhotos,
        ids,
        photos,
        {i: partial(_read_labels, labels[i], values) for i in ids},
        augmentation,
        cache_megabytes=training.cache_megabytes if training.epochs else 0,
    )


def _epochs(
    initial: Checkpoint,
    samples: "Callable[[], Dataset[Any]]",
    loss: Callable[..., Any],
    training: TrainingParameters,
    seed: int,
    execution: Execution,
    name: str,
) -> Iterator[dict[str, Checkpoint]]:
    loop = partial(_train, samples, loss, training, seed, execution, name)
    for checkpoint in launch(loop, initial, execution=execution):
        yield {f"{checkpoint.progress['epoch']:04d}": checkpoint}


def _train(
    samples: "Callable[[], Dataset[Any]]",
    loss: Callable[..., Any],
    training: TrainingParameters,
    seed: int,
    execution: Execution,
    name: str,
    start: Checkpoint,
) -> "Iterator[Checkpoint]":
    """Train where the samples are read: in this process, or in each of those that share batches."""
    from affinitynet.networks.cuda import memory_errors
    from affinitynet.training.loop import train
    from affinitynet.training.ranks import rank

    def show(steps: Iterable[Any], description: str) -> Iterable[Any]:
        return steps if rank() else track(steps, f"{name}: {description}")

    try:
        with memory_errors("training.batch_size, or augmentation.crop,"):
            yield from train(
                start,
                samples(),
                loss,
                training,
                seed=seed,
                device=pick_device(execution),
                progress=show,
            )
    except RuntimeError as error:
        if str(error).startswith("DataLoader worker (pid"):  # all that torch tells it by
            raise RankDiedError(error) from error
        raise


def _read_labels(read: Callable[[], npt.NDArray[np.uint8]], values: list[int]) -> Image.Image:
    return Image.fromarray(decode(read(), values))
