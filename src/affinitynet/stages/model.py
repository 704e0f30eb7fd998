"""A trained segmentation network outside the pipelines: `affinitynet.load(path).predict(image)`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, overload

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.images import load_photo, to_rgb
from affinitynet.core.label_maps import Classes, LabelMap, list_present, voc_palette
from affinitynet.core.overlay import paint_overlay
from affinitynet.data.files import why_unreadable
from affinitynet.networks.checkpoint import read
from affinitynet.networks.devices import find_device
from affinitynet.networks.parameters import SegmentationInference, nearest_stride
from affinitynet.stages.predictor import NonFiniteError
from affinitynet.stages.segmentation import Known, Segmenter

logger = logging.getLogger(__name__)

FILE = "model.safetensors"
"""Names of the files of the pipeline `export`."""

Photo = str | Path | bytes | Image.Image | npt.NDArray[np.uint8]
"""A file's path or its bytes, a Pillow image of any mode, or an RGB array (H, W, 3) uint8."""

T = TypeVar("T")

WINDOW = 16
"""Photos of a list that are in memory at a time."""


@dataclass(frozen=True)
class Prediction:
    """A photo's segmentation, at its own size.

    Attributes:
        mask: (H, W) uint8, in mask values.
        confidence: (H, W) float32: the probability of each pixel's class, in [0, 1].
        classes: Class name to mask value, background (0) first.
        photo: Upright, RGB.
    """

    mask: LabelMap
    confidence: npt.NDArray[np.float32]
    classes: Classes
    photo: Image.Image = field(repr=False, compare=False)

    @property
    def present(self) -> dict[str, float]:
        """The classes that it shows, without background: name to share of the pixels, in (0, 1]."""
        return list_present(self.mask, self.classes)

    @property
    def mean_confidence(self) -> float:
        """Mean of `confidence`: photos with a low one are likelier to be wrong."""
        return float(self.confidence.mean())

    def overlay(self) -> Image.Image:
        """Lay the mask over the photo: colours, outlines, and the classes' names."""
        return paint_overlay(self.photo, self.mask, self.classes)

    def to_image(self) -> Image.Image:
        """Return the mask as an indexed image in VOC's colours, as the pipelines write it."""
        image = Image.fromarray(self.mask)
        image.putpalette(voc_palette().tobytes())
        return image


class Model:
    """A trained segmentation network, used as it was evaluated: same scales, flips and CRF.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, …; `auto` takes CUDA where there is one.

    Attributes:
        classes: Class name to mask value, background (0) first.
        config: The checkpoint's configuration; `inference` holds how photos are scored.

    Raises:
        ValueError: If the checkpoint is no segmentation network's, or there is no such device.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "cpu") -> None:
        self.config = checkpoint.config
        if self.config.get("kind") != "segmentation" or "inference" not in self.config:
            raise ValueError(
                f"a checkpoint of kind '{self.config.get('kind')}' makes no masks; take "
                "segmentation's (06_models/segmentation/model.pt) or an exported model"
            )
        self.classes: Classes = {"background": 0, **self.config["classes"]}
        self.device = find_device(device)
        self._checkpoint = checkpoint
        self._inference = SegmentationInference(**self.config["inference"])
        self._segment = self._make(self._inference)

    def _make(self, inference: SegmentationInference) -> Segmenter:
        with torch.random.fork_rng(devices=[]):  # layers are random before they get their weights
            return Segmenter(self._checkpoint, inference, self.device)

    @cached_property
    def _segment_fast(self) -> Segmenter:
        stride = nearest_stride(self._inference.scales)
        return self._make(
            replace(
                self._inference,
                scales=((1.0, stride),),  # type: ignore[arg-type]
                flip=False,
                cell=1,
                bfloat16=False,
                crf=None,
            )
        )

    @overload
    def predict(  # type: ignore[overload-overlap]
        self, image: Photo, tags: Sequence[str] | None = ..., *, fast: bool = ...
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        image: Sequence[Photo],
        tags: Sequence[Sequence[str] | None] | None = ...,
        *,
        fast: bool = ...,
    ) -> list[Prediction]: ...
    def predict(
        self,
        image: Photo | Sequence[Photo],
        tags: Sequence[Any] | None = None,
        *,
        fast: bool = False,
    ) -> Prediction | list[Prediction]:
        """Segment a photo, or each of a list, in batches of one size.

        Args:
            image: Files and Pillow images may have any mode and an EXIF rotation.
            tags: Names of all classes that the photo shows: only they and the background are
                found. Of a list of photos, a list for each. None where they are not known.
            fast: One pass of the network at scale 1, without flips and CRF, as the ONNX model.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If a file is no image, an array no RGB photo, a tag no class, or an output
                NaN or infinite.
        """
        if isinstance(image, list | tuple):
            known = [None] * len(image) if tags is None else tags
            if isinstance(known, str) or len(known) != len(image):
                raise ValueError(f"tags: give a list of tags for each of the {len(image)} photos")
            windows = (slice(start, start + WINDOW) for start in range(0, len(image), WINDOW))
            return [
                one for some in windows for one in self._predict(image[some], known[some], fast)
            ]
        (found,) = self._predict([image], [tags], fast)  # type: ignore[list-item]
        return found

    def _predict(
        self, images: Sequence[Photo], tags: Sequence[Sequence[str] | None], fast: bool
    ) -> list[Prediction]:
        """Segment photos; those of one working size share batches, but for the dense CRF."""
        labels = [None if some is None else self._labels_of(some) for some in tags]
        photos = {str(number): to_rgb(_read(image)) for number, image in enumerate(images)}
        sizes = {name: (photo.height, photo.width) for name, photo in photos.items()}
        known = {
            name: Known(size, some)
            for (name, size), some in zip(sizes.items(), labels, strict=True)
        }
        segment = self._segment_fast if fast else self._segment
        try:
            if segment.inference.crf or len(photos) == 1:
                found = {name: segment(photo, known[name]) for name, photo in photos.items()}
            else:
                readers = {name: partial(_identity, photo) for name, photo in photos.items()}
                found = dict(segment.stream(segment.reader.read(sizes, readers, known)))
        except NonFiniteError as error:
            raise ValueError(
                "the network's outputs for this photo are NaN or infinite: its training has "
                "diverged, or its file is damaged"
            ) from error
        return [
            Prediction(found[name].mask, found[name].confidence, self.classes, photo)
            for name, photo in photos.items()
        ]

    def _labels_of(self, tags: Sequence[str]) -> list[int]:
        names = [*self.classes]
        if isinstance(tags, str) or (wrong := [tag for tag in tags if tag not in names]):
            shown = tags if isinstance(tags, str) else ", ".join(map(str, wrong))
            raise ValueError(f"tags: {shown}; give a list of some of {', '.join(names[1:])}")
        return [names.index(tag) for tag in tags]


def load(path: str | Path, *, device: str = "cpu") -> Model:
    """Load a trained segmentation network; nothing is unpickled, nothing downloaded.

    Args:
        path: An exported `model.safetensors`; a folder that has one, where the newest version
            counts; or a segmentation checkpoint of a run (`.pt`).
        device: `cpu`, `cuda`, `cuda:1`, …; `auto` takes CUDA where there is one.

    Raises:
        FileNotFoundError: If there is no such file, or none in the folder.
        ValueError: If the file is no segmentation network's, or there is no such device.

    Example:
        ```python
        model = affinitynet.load("data/06_models/export")
        model.predict("photo.jpg").to_image().save("mask.png")
        ```
    """
    file = Path(path)
    if file.is_dir():
        found = [each for each in file.rglob(FILE) if each.is_file()]
        if not found:
            raise FileNotFoundError(
                f"{path}: no {FILE} in this folder; `kedro run --pipeline export` writes one to "
                "<data>/06_models/export"
            )
        if len({each.parents[1] for each in found}) > 1 and len(found) > 1:
            places = "".join(f"\n  {each.parents[1]}" for each in found)
            raise ValueError(f"{path}: models lie in several folders; name one of them:{places}")
        file = max(found)  # versions are named by their time
        logger.info("The newest of %d models in %s is %s.", len(found), path, file)
    elif not file.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    try:
        return Model(read(file), device=device)
    except RuntimeError as error:  # load_state_dict's
        raise ValueError(f"{file}: weights and configuration do not fit: {error}") from error


def _identity(value: T) -> T:
    return value


def _read(image: Photo) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(
                f"image: array {image.shape} of {image.dtype}; give (height, width, 3) uint8, RGB"
            )
        return Image.fromarray(image)
    if isinstance(image, bytes | bytearray):
        return open_photo(BytesIO(image))
    if not isinstance(image, str | Path):
        raise ValueError(
            f"image: give a path, a file's bytes, a Pillow image or an array, not {type(image)}"
        )
    return open_photo(image)


def check_pixels(width: int, height: int, most: int | None) -> None:
    """Check that a photo is not larger than a limit, None for no limit.

    Raises:
        ValueError: If it is.
    """
    if most is not None and width * height > most:
        raise ValueError(
            f"a photo of {width} x {height} pixels; at most {most:,} pixels are allowed, make it "
            "smaller"
        )


def open_photo(file: str | Path | BinaryIO, *, max_pixels: int | None = None) -> Image.Image:
    """Read an image file in full.

    Args:
        file: Its path, or an open file.
        max_pixels: Pixels at most, tested before the file is decoded; None for Pillow's limit only.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If Pillow cannot read it, or it is larger.
    """
    try:
        return load_photo(file, check=partial(check_pixels, most=max_pixels))
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's decoders raise any error
        name = f"{file}: " if isinstance(file, str | Path) else ""
        raise ValueError(f"{name}{why_unreadable(error)}") from error
