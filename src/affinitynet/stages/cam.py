"""Stage 1: class activation maps (paper, section 3.1)."""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from affinitynet.core.cams import normalise
from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.prototypes import sum_directions
from affinitynet.networks.cam_net import CAMNet, WithMaps
from affinitynet.networks.parameters import FeatureParameters, InferenceParameters
from affinitynet.stages.batches import Batch
from affinitynet.stages.predictor import FeatureExtractor, NetworkStage, Predictor

Prototypes = npt.NDArray[np.float32]
"""Of K classes, (K, C); see `affinitynet.core.prototypes`."""


class CamExtractor(NetworkStage[ClassMaps]):
    """Class activation maps of a photo's tagged classes: M_c / max M_c (eq. 1).

    A batch's inputs are the labels of each photo's tags, (K,) uint8 from 1.

    Args:
        checkpoint: The classifier's.
        prototypes: (K, C), which draw the maps in place of the classifier's weights.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        inference: InferenceParameters,
        device: torch.device,
        *,
        prototypes: Prototypes | None = None,
    ) -> None:
        draw = partial(_activations, prototypes=_to_tensor(prototypes, device))
        self.reader = self.predictor = Predictor(checkpoint, draw, inference, device)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, ClassMaps]]:
        """Extract the CAMs of each photo."""
        for batch, scores in self.predictor(batches):
            for image_id, activations, labels in zip(batch.ids, scores, batch.inputs, strict=True):
                cams = normalise(activations[labels.astype(int) - 1])
                yield image_id, ClassMaps(labels, cams.numpy().astype(np.float16))


def _activations(network: nn.Module, images: Tensor, *, prototypes: Tensor | None) -> Tensor:
    assert isinstance(network, CAMNet)
    return network.cam(images, prototypes)


def _to_tensor(prototypes: Prototypes | None, device: torch.device) -> Tensor | None:
    return None if prototypes is None else torch.from_numpy(prototypes).to(device)


class DirectionSums(NetworkStage[npt.NDArray[np.float32]]):
    """Sums of the features under and beside a photo's CAMs, for `core.prototypes.prototypes`.

    A batch's inputs are the labels of each photo's tags, as for `CamExtractor`; the sums are of
    these classes.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        inference: InferenceParameters,
        device: torch.device,
        *,
        prototypes: Prototypes | None = None,
    ) -> None:
        with_maps = partial(WithMaps, prototypes=_to_tensor(prototypes, device))
        self.reader = self.outputs = FeatureExtractor(
            checkpoint, _once(inference), device, adapt=with_maps
        )

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        """Sum the features of each photo."""
        for batch, outputs in self.outputs(batches):
            for image_id, own, labels in zip(batch.ids, outputs, batch.inputs, strict=True):
                features, maps = own.split(self.outputs.network.channels)
                sums = sum_directions(features, normalise(maps[labels.astype(int) - 1]))
                yield image_id, sums.cpu().numpy()


class TagClassifier(NetworkStage[list[float]]):
    """Logits of the classes at the first of the scales, unflipped."""

    def __init__(
        self, checkpoint: Checkpoint, inference: InferenceParameters, device: torch.device
    ) -> None:
        self.reader = self.logits = FeatureExtractor(checkpoint, _once(inference), device)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, list[float]]]:
        """Classify each photo."""
        for batch, logits in self.logits(batches):
            # as lists: arrays would lie scattered over memory that layers free
            yield from zip(batch.ids, logits.tolist(), strict=True)


def _once(inference: InferenceParameters) -> FeatureParameters:
    return FeatureParameters(
        long_side=inference.long_side,
        batch_size=inference.batch_size,
        bfloat16=inference.bfloat16,
        output_stride=inference.scales[0][1],
    )


class PhotoFeatures(NetworkStage[list[float]]):
    """The final features of the classifier's backbone, averaged over the photo."""

    def __init__(
        self, checkpoint: Checkpoint, inference: FeatureParameters, device: torch.device
    ) -> None:
        self.reader = self.features = FeatureExtractor(
            checkpoint, inference, device, adapt=_drop_classifier
        )

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, list[float]]]:
        """Describe each photo."""
        for batch, features in self.features(batches):
            yield from zip(batch.ids, features.tolist(), strict=True)


def _drop_classifier(network: nn.Module) -> nn.Module:
    network.classifier = nn.Identity()
    return network
