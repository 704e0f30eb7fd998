"""A trained network that is run on photos: at several scales and flips, or once as they are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import prod
from typing import Any, Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.images import to_pixels, working_size
from affinitynet.errors import UserError
from affinitynet.networks.checkpoint import restore
from affinitynet.networks.cuda import (
    Canvas,
    canvas_for,
    fetch,
    largest_batch,
    memory_errors,
    without_determinism,
)
from affinitynet.networks.inference import (
    canvases,
    multi_scale,
    multi_scale_on_canvas,
    prepare_for_inference,
    scorers,
)
from affinitynet.networks.parameters import BatchParameters, FeatureParameters, InferenceParameters
from affinitynet.networks.precision import uses_bfloat16
from affinitynet.stages.batches import (
    Batch,
    CanvasFor,
    Photos,
    Size,
    own_shape,
    plan_batches,
    read_batches,
    stack,
)

T = TypeVar("T")


class NonFiniteError(UserError):
    """A network's outputs are NaN or infinite: an argmax would take them for any class."""


def shares_canvases(device: torch.device) -> bool:
    """Whether photos of several shapes share a batch: a CPU gains nothing by it."""
    return device.type == "cuda"


class BatchReader(ABC):
    """Batches in the form that suits a network and its device.

    Attributes:
        block: Where a stage has the reader's parameters, for messages.
        canvas_for: Maps a photo's height and width to those of its canvas: photos of one canvas
            share a batch.
    """

    block = ""

    def __init__(
        self, checkpoint: Checkpoint, inference: BatchParameters, device: torch.device
    ) -> None:
        self.kind = checkpoint.config["kind"]
        self.inference, self.device = inference, device
        self.canvas_for: CanvasFor = own_shape

    def read(
        self, sizes: Mapping[str, Size], photos: Photos, inputs: Mapping[str, Any] | None = None
    ) -> Iterator[Batch]:
        """Read photos in batches.

        Args:
            sizes: Photo id to its own height and width.
            photos: Reads the photos.
            inputs: Photo id to its further input, or a function that reads it.
        """
        long_side, batch_size = self.inference.long_side, self.fit(sizes)
        plan = plan_batches(
            sizes, long_side=long_side, batch_size=batch_size, canvas_for=self.canvas_for
        )
        fill_to = batch_size if shares_canvases(self.device) else 1
        return read_batches(
            plan,
            photos,
            inputs,
            long_side=long_side,
            canvas_for=self.canvas_for,
            fill_to=fill_to,
        )

    def batch(self, photo: Image.Image, given: Any = None) -> Batch:
        """Make a batch of one photo."""
        pixels = to_pixels(photo, self.inference.long_side)
        height, width, _ = pixels.shape
        return Batch(["photo"], [(height, width)], stack([pixels], self.canvas_for), [given])

    @abstractmethod
    def _score(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Run the network on a batch (N, 3, h, w), which may have more images than photos."""

    def fit(self, sizes: Mapping[str, Size]) -> int:
        """Return how many photos a batch has: as many as the device holds of the largest canvas."""
        batch_size = self.inference.batch_size
        has_canvases = self.canvas_for is not own_shape
        if self.device.type != "cuda" or not has_canvases or min(batch_size, len(sizes)) == 1:
            return batch_size
        shapes = (working_size(*size, self.inference.long_side) for size in sizes.values())
        height, width = max((self.canvas_for(shape) for shape in shapes), key=prod)

        def run(count: int) -> None:
            images = torch.zeros(count, 3, height, width, dtype=torch.uint8, device=self.device)
            self._score(images, [(height, width)] * count)

        with memory_errors(f"{self.block}long_side"), without_determinism():
            return largest_batch(run, self.device, at_most=batch_size)

    def check(self, batch: Batch, outputs: Tensor) -> None:
        """Check that a network's outputs are finite.

        Raises:
            NonFiniteError: Naming the network and the photos.
        """
        finite = outputs[: len(batch.ids)].isfinite().flatten(1).all(dim=1).tolist()
        if wrong := [i for i, is_finite in zip(batch.ids, finite, strict=True) if not is_finite]:
            raise NonFiniteError(
                f"The {self.kind} network's outputs are NaN or infinite for the photos "
                f"{', '.join(wrong)}. Its training has diverged, or its checkpoint is damaged: "
                "train it again, with lower learning rates"
            )


class Predictor(BatchReader):
    """A network's score maps, averaged over scales and flips.

    Args:
        score: Maps the network and images (N, 3, h, w) in [0, 1] to scores (N, K, h', w').
        inference: Scales, flips, batches.
    """

    block = "inference."

    def __init__(
        self,
        checkpoint: Checkpoint,
        score: Callable[[nn.Module, Tensor], Tensor],
        inference: InferenceParameters,
        device: torch.device,
    ) -> None:
        super().__init__(checkpoint, inference, device)
        self.inference: InferenceParameters = inference
        self._scores_at = scorers(checkpoint, score, inference.scales, device=device)
        self._canvas_at = canvases(self._scores_at) if shares_canvases(device) else []
        self.canvas_for = canvas_for if self._canvas_at else own_shape

    def __call__(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, list[Tensor]]]:
        """Score photos, batch by batch.

        Yields:
            The batch, and each photo's scores (K, ceil(h / cell), ceil(w / cell)), float32, on the
            CPU.
        """
        cell = self.inference.cell
        with memory_errors(f"{self.block}batch_size"):
            scored = ((batch, self._score(batch.images, batch.sizes)) for batch in batches)
            for batch, scores in fetch(scored) if self._canvas_at else scored:
                self.check(batch, scores)
                grids = [(-(-height // cell), -(-width // cell)) for height, width in batch.sizes]
                own = zip(scores.cpu(), grids, strict=False)
                yield batch, [planes[:, :rows, :columns] for planes, (rows, columns) in own]

    def _score(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        images = images.to(self.device, non_blocking=True)
        flip, cell = self.inference.flip, self.inference.cell
        bfloat16 = self.inference.bfloat16
        if self._canvas_at:
            all_sizes = [*sizes, *[sizes[-1]] * (len(images) - len(sizes))]
            return multi_scale_on_canvas(
                self._canvas_at, images, all_sizes, flip=flip, cell=cell, bfloat16=bfloat16
            )
        with without_determinism():
            return multi_scale(self._scores_at, images, flip=flip, cell=cell, bfloat16=bfloat16)


class FeatureExtractor(BatchReader):
    """A network's outputs at one scale: AffinityNet's features, the classifier's logits.

    Args:
        inference: How the photos are read.
        adapt: Changes the restored network.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        inference: FeatureParameters,
        device: torch.device,
        *,
        adapt: Callable[[Any], nn.Module] = lambda network: network,
    ) -> None:
        super().__init__(checkpoint, inference, device)
        stride = inference.output_stride
        restored = adapt(restore(checkpoint, output_stride=stride, device=device))
        self.network = prepare_for_inference(restored)
        self._canvas: Canvas | None = None
        if shares_canvases(device):
            canvas = Canvas(self.network, self.network)
            with without_determinism():
                self._canvas = canvas if canvas.is_exact() else None
        self.canvas_for = canvas_for if self._canvas else own_shape

    def __call__(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Run the network on photos, batch by batch.

        Yields:
            Photos of one shape, and the network's outputs (N, …), float32, on the device.
        """
        for batch in batches:
            with memory_errors(f"{self.block}batch_size"), without_determinism():
                outputs = self._score(batch.images, batch.sizes)
            self.check(batch, outputs)
            for size, group in groupby(range(len(batch.ids)), key=batch.sizes.__getitem__):
                some = [*group]
                part = slice(some[0], some[-1] + 1)
                own = outputs[part]
                if self._canvas:
                    rows, columns = self._canvas.grid(size)
                    own = own[..., :rows, :columns]
                yield batch.select(part), own

    @torch.inference_mode()
    def _score(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        images, bfloat16 = images.to(self.device), self.inference.bfloat16
        if self._canvas:
            all_sizes = [*sizes, *[sizes[-1]] * (len(images) - len(sizes))]
            return self._canvas.run(images, all_sizes, bfloat16=bfloat16)
        pixels = (images.float() / 255).contiguous(memory_format=torch.channels_last)
        half = uses_bfloat16(bfloat16, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            outputs: Tensor = self.network(pixels)
            return outputs.float()


class NetworkStage(ABC, Generic[T]):
    """A stage's work with a network.

    Attributes:
        reader: Reads its batches.
    """

    reader: BatchReader

    @abstractmethod
    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, T]]:
        """Do photos batch by batch: yield each one's id and result."""

    def __call__(self, photo: Image.Image, given: Any = None) -> T:
        """Do one photo.

        Args:
            photo: Of any mode.
            given: Further input of the stage.
        """
        ((_, result),) = self.stream([self.reader.batch(photo, given)])
        return result
