"""Stage 5: masks of the segmentation network (paper, section 3.4)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import to_pixels, upsampled_argmax
from affinitynet.core.label_maps import encode
from affinitynet.core.prefetch import prefetch
from affinitynet.networks.inference import class_probabilities
from affinitynet.networks.parameters import SegmentationInference
from affinitynet.stages.batches import Batch, Size
from affinitynet.stages.predictor import NetworkStage, Predictor
from affinitynet.stages.refinement import CRFLabeller, Probabilities, Segmentation


def keep_tagged(probabilities: Tensor, tagged: Sequence[int] | None) -> Tensor:
    """Share the probability of classes that a photo is not tagged with among those that it shows.

    Args:
        probabilities: (K + 1, h, w) of background and classes.
        tagged: Labels of the photo's tags, from 1; None if they are not known: all are kept.

    Returns:
        (K + 1, h, w), 0 for the classes that are left out. The background always stays.
    """
    if tagged is None:
        return probabilities
    rows = [0, *map(int, tagged)]
    kept = torch.zeros_like(probabilities)
    kept[rows] = probabilities[rows]
    return kept / kept.sum(dim=0).clamp(min=torch.finfo(kept.dtype).tiny)


def _score_within_tags(
    scored: Iterable[tuple[Batch, Sequence[Tensor]]],
) -> Iterator[tuple[str, Tensor, Any]]:
    """Yield each photo's id, its probabilities within its tags, and these tags."""
    for batch, scores in scored:
        for image_id, probabilities, tagged in zip(batch.ids, scores, batch.inputs, strict=True):
            yield image_id, keep_tagged(probabilities, tagged), tagged


@dataclass(frozen=True)
class Known:
    """Known facts of a photo before it is segmented.

    Attributes:
        size: Its own height and width.
        tagged: Labels of its tags; None if they are not known.
    """

    size: Size
    tagged: Sequence[int] | None = None


class ClassScorer(NetworkStage[Probabilities]):
    """Probabilities (K + 1, h, w) of background and classes in each cell.

    A batch's inputs are the labels of the photos' tags; None where they are not known.
    """

    def __init__(
        self, checkpoint: Checkpoint, inference: SegmentationInference, device: torch.device
    ) -> None:
        self.reader = self.predictor = Predictor(checkpoint, class_probabilities, inference, device)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, Probabilities]]:
        """Score each photo."""
        for image_id, kept, _ in _score_within_tags(self.predictor(batches)):
            yield image_id, kept.numpy()


class TagScorer(NetworkStage[ClassMaps]):
    """Probabilities of background and tagged classes in each cell, as score maps.

    A batch's inputs are the labels of the photos' tags.
    """

    def __init__(
        self, checkpoint: Checkpoint, inference: SegmentationInference, device: torch.device
    ) -> None:
        self.reader = self.predictor = Predictor(checkpoint, class_probabilities, inference, device)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, ClassMaps]]:
        """Score each photo."""
        for image_id, kept, tagged in _score_within_tags(self.predictor(batches)):
            labels = np.array([0, *tagged], np.uint8)
            maps = kept[labels.astype(int)].numpy().astype(np.float16)
            yield image_id, ClassMaps(labels, maps)


class Segmenter(NetworkStage[Segmentation]):
    """Masks of photos, at their own size.

    A batch's inputs are what is known of the photos; the dense CRF needs the photo itself.

    Args:
        checkpoint: The segmentation network's.
        in_255ths: Return the confidence as uint8, which takes a quarter of the memory.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        inference: SegmentationInference,
        device: torch.device,
        *,
        in_255ths: bool = False,
    ) -> None:
        self.values = [*checkpoint.config["classes"].values()]
        self.inference, self.in_255ths = inference, in_255ths
        self.scorer = ClassScorer(checkpoint, inference, device)
        self.reader = self.scorer.reader

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, Segmentation]]:
        """Segment each photo by the best class of each pixel, without a CRF.

        The masks are upsampled while the network does the next photos.
        """
        for batch, scores in prefetch(self.scorer.predictor(batches), 1):
            for image_id, probabilities, known in zip(batch.ids, scores, batch.inputs, strict=True):
                yield image_id, self._label(keep_tagged(probabilities, known.tagged), known.size)

    def __call__(self, photo: Image.Image, given: Known | None = None) -> Segmentation:
        """Segment one photo, with the dense CRF if there is one."""
        probabilities = self.scorer(photo, given and given.tagged)
        if crf := self.inference.crf:
            side, in_255ths = self.inference.long_side, self.in_255ths
            return CRFLabeller(self.values, crf, side, in_255ths)(photo, probabilities)
        height, width, _ = to_pixels(photo).shape
        return self._label(torch.from_numpy(probabilities), (height, width))

    def _label(self, probabilities: Tensor, size: Size) -> Segmentation:
        labels, confidence = upsampled_argmax(probabilities, size, in_255ths=self.in_255ths)
        return Segmentation(encode(labels, self.values), confidence)
