"""Training samples: photos with tags, and photos with label maps, with random augmentation."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from affinitynet.core.images import image_tensor, resize_long_side, to_rgb
from affinitynet.core.label_maps import IGNORE_INDEX
from affinitynet.training.parameters import Augmentation

AT_ONCE = 64
"""Photos that are decoded before it is seen whether they fit into memory."""

Images = Mapping[str, Callable[[], Image.Image]]
"""Image id -> a function that opens the image. It must be picklable where workers call it."""


def repeat_rare(shown: npt.NDArray[Any], share: float, seed: int) -> npt.NDArray[np.intp]:
    """Draw how often each photo comes in an epoch, so that rare classes are seen more often.

    Repeat factors of Gupta, Dollar and Girshick, LVIS, CVPR 2019, section 5: a photo's is the
    largest of its classes', sqrt(share / f) for a class in a share f < `share` of the photos.

    Args:
        shown: (N, K), 1 where a photo shows a class.
        share: Classes of a smaller share are rare; 0: none is.
        seed: Of what is drawn: a factor of 1.3 makes two of three tenths of the photos.

    Returns:
        (N,) times, from 1.
    """
    shares = np.maximum(shown.mean(axis=0), np.finfo(float).tiny)
    factors = (shown * np.sqrt(share / shares)).max(axis=1, initial=1)
    drawn = np.random.default_rng(seed).random(len(shown))
    times: npt.NDArray[np.intp] = np.floor(factors + drawn).astype(np.intp)
    return times


def random_transform(augmentation: Augmentation) -> v2.Transform:
    """Build the transform of a `tv_tensors.Image`, with or without its `tv_tensors.Mask`."""
    resize = [_RandomLongSide(*augmentation.long_side)] if augmentation.long_side else []
    jitter = augmentation.jitter
    return v2.Compose(
        [
            *resize,
            v2.RandomCrop(
                augmentation.crop,
                pad_if_needed=True,
                fill={tv_tensors.Image: 128, tv_tensors.Mask: IGNORE_INDEX},
            ),
            v2.RandomHorizontalFlip(augmentation.flip),
            v2.ColorJitter(jitter, jitter, jitter, augmentation.hue),
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            v2.ToPureTensor(),
        ]
    )


class _RandomLongSide(v2.Transform):
    """Resize to a random length of the longer side: bicubic for photos, nearest for labels."""

    def __init__(self, smallest: int, largest: int) -> None:
        super().__init__()
        self.smallest, self.largest = smallest, largest

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = flat_inputs[0].shape[-2:]
        factor = int(torch.randint(self.smallest, self.largest + 1, ())) / max(height, width)
        return {"size": [max(1, round(height * factor)), max(1, round(width * factor))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        # torchvision takes the nearest pixel for masks, whatever the interpolation
        return v2.functional.resize(
            inpt, params["size"], interpolation=v2.InterpolationMode.BICUBIC, antialias=True
        )


class _Photos(Dataset[tuple[Tensor, Tensor]]):
    """Decoded photos, resized to the largest size that training asks for and kept in memory."""

    def __init__(
        self, ids: Sequence[str], photos: Images, augmentation: Augmentation, cache_megabytes: float
    ) -> None:
        self.ids, self.photos = list(ids), photos
        self.long_side = augmentation.long_side and augmentation.long_side[1]
        self.transform = random_transform(augmentation)
        # Filled here and not as training goes: workers then share these pages with their parent.
        self.cache: dict[str, tuple[Tensor, ...]] = {}
        left, once = cache_megabytes * 2**20, [*dict.fromkeys(self.ids)]
        with ThreadPoolExecutor() as threads:
            while left > 0 and (some := once[len(self.cache) :][:AT_ONCE]):
                for image_id, tensors in zip(some, threads.map(self._decode, some), strict=True):
                    left -= sum(tensor.nbytes for tensor in tensors)
                    if left < 0:
                        break
                    self.cache[image_id] = tensors

    def __len__(self) -> int:
        return len(self.ids)

    def load(self, image_id: str) -> tuple[Tensor, ...]:
        """Return the uint8 tensors of one sample, from memory if they are there."""
        return self.cache.get(image_id) or self._decode(image_id)

    def _decode(self, image_id: str) -> tuple[Tensor, ...]:
        photo = to_rgb(self.photos[image_id]())
        return (image_tensor(resize_long_side(photo, self.long_side)),)


class TaggedPhotos(_Photos):
    """Photos and tags: float32 (3, crop, crop) in [0, 1] and float32 (K,), 1 where tagged.

    Args:
        photos: Opens the photos.
        tags: Image id -> one number a class, 1 where the photo shows it.
        augmentation: Of the photos.
        cache_megabytes: Memory for decoded photos; those beyond are decoded each time.
    """

    def __init__(
        self,
        ids: Sequence[str],
        photos: Images,
        tags: Mapping[str, npt.ArrayLike],
        augmentation: Augmentation,
        *,
        cache_megabytes: float = 1024,
    ) -> None:
        super().__init__(ids, photos, augmentation, cache_megabytes)
        self.tags = tags

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image_id = self.ids[index]
        (photo,) = self.load(image_id)
        tags = torch.tensor(self.tags[image_id], dtype=torch.float32)  # also of read-only arrays
        return self.transform(tv_tensors.Image(photo)), tags


class LabelledPhotos(_Photos):
    """Photos and label maps: float32 (3, crop, crop) in [0, 1] and int64 (crop, crop).

    Labels are 0 for background, 1 ... K for the classes and 255 where they are unknown.

    Args:
        photos: Opens the photos.
        labels: Opens the label maps: one-channel images of any size with their photo's ratio.
        augmentation: Of photos and label maps together.
        cache_megabytes: Memory for decoded samples; those beyond are decoded each time.
    """

    def __init__(
        self,
        ids: Sequence[str],
        photos: Images,
        labels: Images,
        augmentation: Augmentation,
        *,
        cache_megabytes: float = 1024,
    ) -> None:
        self.labels = labels
        super().__init__(ids, photos, augmentation, cache_megabytes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        photo, labels = self.load(self.ids[index])
        image, mask = self.transform(tv_tensors.Image(photo), tv_tensors.Mask(labels))
        return image, mask[0].long()

    def _decode(self, image_id: str) -> tuple[Tensor, ...]:
        (photo,) = super()._decode(image_id)
        labels = self.labels[image_id]()
        size = photo.shape[2], photo.shape[1]
        if labels.size != size:
            labels = labels.resize(size, Image.Resampling.NEAREST)
        return photo, image_tensor(labels)
