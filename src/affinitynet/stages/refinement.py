"""The dense CRF at the end of stages 4 and 5; worker processes import no network for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.dense_crf import (
    CRFParameters,
    refine,
    unary_from_labels,
    unary_from_probabilities,
)
from affinitynet.core.images import to_255ths, to_pixels, to_rgb, upsample
from affinitynet.core.label_maps import IGNORE_INDEX, LabelMap, encode
from affinitynet.core.segments import (
    SLIC,
    Segments,
    read_segments,
    resize_segments,
    superpixels,
    vote,
)
from affinitynet.stages.parameters import Refinement

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Refiner:
    """The dense CRF that makes pseudo labels of the walk's argmax.

    Attributes:
        values: Mask value of each class.
        options: Vote, dense CRF and working size.
    """

    values: Sequence[int]
    options: Refinement

    def __call__(
        self, photo: Image.Image, walked: ClassMaps, regions: Image.Image | None = None
    ) -> LabelMap:
        """Label a photo at the working size, in mask values.

        Args:
            photo: Of any mode.
            walked: The walk's scores.
            regions: The photo's, where they are given.
        """
        pixels = to_pixels(photo, self.options.long_side)
        best = walked.resize(pixels.shape[:2]).maps.argmax(axis=0)
        if (segments := self._segment(pixels, regions)) is not None:
            best = vote(best, segments, threshold=self.options.vote.threshold)
        unary = unary_from_labels(best, len(walked.labels), confidence=self.options.confidence)
        refined = refine(pixels, unary, self.options.crf).argmax(axis=0)
        return encode(walked.name(refined), self.values)

    def _segment(
        self, pixels: npt.NDArray[np.uint8], regions: Image.Image | None
    ) -> Segments | None:
        options = self.options.vote
        if options.segments == SLIC:
            return superpixels(pixels, options.superpixels, options.compactness)
        if regions is None:
            return None
        return resize_segments(read_segments(regions), (pixels.shape[0], pixels.shape[1]))


@dataclass(frozen=True)
class TaggedLabeller:
    """Labels of a photo whose tags are known, once there is a segmentation network.

    Network and random walk are taken for two independent witnesses, p(c) ~ p_network(c) p_walk(c),
    and the dense CRF refines what they say together.

    Attributes:
        values: Mask value of each class.
        options: The dense CRF and its working size.
        certainty: Pixels whose label has a lower probability after the CRF are neutral.
    """

    values: Sequence[int]
    options: Refinement
    certainty: float = 0.0

    def __call__(
        self, photo: Image.Image, scores: ClassMaps, walked: ClassMaps | None = None
    ) -> LabelMap:
        """Label a photo at the working size, in mask values, 255 where the label is not certain.

        Args:
            scores: The network's probabilities of the background and the photo's tags.
            walked: The random walk's scores, of a training photo. Those of other classes than the
                network's, which only a user's own maps can have, are left out.
        """
        pixels = to_pixels(photo, self.options.long_side)
        size = (pixels.shape[0], pixels.shape[1])
        shares = scores.resize(size).maps
        if walked is not None and np.array_equal(walked.labels, scores.labels):
            shares = shares * walked.resize(size).maps
        shares /= np.maximum(shares.sum(axis=0), np.finfo(np.float32).tiny)
        refined = refine(pixels, unary_from_probabilities(shares), self.options.crf)
        best = np.where(refined.max(axis=0) < self.certainty, IGNORE_INDEX, refined.argmax(axis=0))
        return encode(scores.name(best), self.values)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A photo's mask, at its own size.

    Attributes:
        mask: (H, W) in mask values.
        confidence: (H, W) the probability of each pixel's class: float32 in [0, 1], or uint8 in
            255ths.
    """

    mask: LabelMap
    confidence: npt.NDArray[Any]


@dataclass(frozen=True)
class CRFLabeller:
    """The dense CRF on the network's probabilities, at the network's working size.

    A photo of any size takes the same time and memory, and has masks as good as at its own size.
    The confidence is the network's: after the CRF nearly all probabilities are 1.

    Attributes:
        values: Mask value of each class.
        crf: The dense CRF.
        long_side: Working size: pixels of the photo's longer side; None: as it is.
        in_255ths: As for `Segmenter`.
    """

    values: Sequence[int]
    crf: CRFParameters
    long_side: int | None
    in_255ths: bool = False

    def __call__(self, photo: Image.Image, probabilities: Probabilities) -> Segmentation:
        """Label a photo at its own size."""
        import torch

        from affinitynet.core.images import upsampled_argmax

        upright = to_rgb(photo)
        pixels = to_pixels(upright, self.long_side)
        before = upsample(probabilities, pixels.shape[:2])
        refined = refine(pixels, unary_from_probabilities(before), self.crf)
        size = (upright.height, upright.width)
        labels, _ = upsampled_argmax(torch.from_numpy(refined), size)
        own = np.take_along_axis(before, refined.argmax(axis=0)[None], axis=0)
        confidence = upsample(own, size)[0]
        return Segmentation(
            encode(labels, self.values),
            to_255ths(confidence) if self.in_255ths else confidence,
        )
