"""Stage 5: masks of the segmentation network (paper, section 3.4)."""

from collections.abc import Iterable, Iterator

import torch
from PIL import Image
from torch import Tensor

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.images import to_pixels, upsampled_argmax
from affinitynet.core.label_maps import encode
from affinitynet.core.prefetch import prefetch
from affinitynet.networks.inference import class_probabilities
from affinitynet.networks.parameters import SegmentationInference
from affinitynet.stages.batches import Batch, Size
from affinitynet.stages.predictor import NetworkStage, Predictor
from affinitynet.stages.refinement import CRFLabeller, Probabilities, Segmentation


class ClassScorer(NetworkStage[Probabilities]):
    """Probabilities (K + 1, h, w) of background and classes in each cell."""

    def __init__(
        self, checkpoint: Checkpoint, inference: SegmentationInference, device: torch.device
    ) -> None:
        self.reader = self.predictor = Predictor(checkpoint, class_probabilities, inference, device)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, Probabilities]]:
        """Score each photo."""
        for batch, scores in self.predictor(batches):
            for image_id, probabilities in zip(batch.ids, scores, strict=True):
                yield image_id, probabilities.numpy()


class Segmenter(NetworkStage[Segmentation]):
    """Masks of photos, at their own size.

    A batch's inputs are the photos' own (height, width); the dense CRF needs the photo itself.

    Args:
        checkpoint: The segmentation network's.
        inference: Scales, flips, CRF.
        device: Where the network runs.
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
            for image_id, probabilities, size in zip(batch.ids, scores, batch.inputs, strict=True):
                yield image_id, self._label(probabilities, size)

    def __call__(self, photo: Image.Image, given: Size | None = None) -> Segmentation:
        """Segment one photo, with the dense CRF if there is one."""
        probabilities = self.scorer(photo)
        if self.inference.crf:
            labeller = CRFLabeller(self.values, self.inference.crf, in_255ths=self.in_255ths)
            return labeller(photo, probabilities)
        height, width, _ = to_pixels(photo).shape
        return self._label(torch.from_numpy(probabilities), (height, width))

    def _label(self, probabilities: Tensor, size: Size) -> Segmentation:
        labels, confidence = upsampled_argmax(probabilities, size, in_255ths=self.in_255ths)
        return Segmentation(encode(labels, self.values), confidence)
