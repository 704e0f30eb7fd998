"""Stage 2: which pixels are surely an object or background (paper, section 3.2.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.dense_crf import CRFParameters, refine_many, unary_from_probabilities
from affinitynet.core.images import to_pixels
from affinitynet.core.label_maps import LabelMap, affinity_labels, encode
from affinitynet.stages.parameters import Alphas


@dataclass(frozen=True)
class AffinityLabeller:
    """Confident objects, confident background and neutral pixels (255) of a photo.

    Attributes:
        values: Mask value of each class.
        alphas: Exponents of the background (eq. 2).
        crf: The dense CRF.
        long_side: Working size in pixels; None for the photo's own size.
    """

    values: Sequence[int]
    alphas: Alphas
    crf: CRFParameters
    long_side: int | None

    def __call__(self, photo: Image.Image, cams: ClassMaps) -> LabelMap:
        """Label a photo at the working size, in mask values."""
        pixels = to_pixels(photo, self.long_side)
        cams = cams.resize(pixels.shape[:2])
        scores = [cams.with_background(alpha) for alpha in (self.alphas.low, self.alphas.high)]
        unaries = [unary_from_probabilities(each.maps) for each in scores]
        low, high = (refined.argmax(axis=0) for refined in refine_many(pixels, unaries, self.crf))
        labels = affinity_labels(low, high)
        return encode(scores[0].name(labels), self.values)
