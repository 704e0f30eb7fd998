"""Nodes of the `download` pipeline."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np

from affinitynet.core.label_maps import LabelMap
from affinitynet.data.files import Partitions
from affinitynet.data.voc import parse_split
from affinitynet.errors import UserError
from affinitynet.execution import Execution, chunks
from affinitynet.pipelines.per_image import map_items

VAL, TRAIN = "val", "train"
"""VOC 2012's official lists."""


def download_voc(voc_root: str) -> dict[str, int]:
    """Download VOC 2012 (train and val, 2 GB) and SBD (1.4 GB) through torchvision.

    Files that exist are left as they are.

    Args:
        voc_root: Where VOC 2012 shall lie: a path that ends with `VOCdevkit/VOC2012`, as in the
            archive. SBD comes into its folder `SBD`.

    Returns:
        The numbers of photos and of SBD's masks that are there now.

    Raises:
        UserError: If the path does not end so, or the download fails.
    """
    root = Path(voc_root)
    if root.parts[-2:] != ("VOCdevkit", "VOC2012"):
        raise UserError(
            f"parameter voc_root: '{voc_root}' must end with VOCdevkit/VOC2012, for the archive "
            "has these folders"
        )
    photos, sbd = root / "JPEGImages", root / "SBD"
    try:
        from torchvision.datasets import SBDataset, VOCSegmentation

        if not photos.is_dir():
            root.parents[1].mkdir(parents=True, exist_ok=True)
            VOCSegmentation(root.parents[1], year="2012", image_set="trainval", download=True)
        if not (sbd / "cls").is_dir():
            sbd.mkdir(exist_ok=True)
            SBDataset(sbd, image_set="train", mode="segmentation", download=True)
    except (URLError, RuntimeError, OSError) as error:
        raise UserError(
            f"PASCAL VOC 2012 or SBD could not be downloaded to '{voc_root}': {error}. Fetch the "
            "archives by hand (VOCtrainval_11-May-2012.tar, benchmark.tgz) and extract them there, "
            f"SBD's dataset folder as '{sbd}'"
        ) from error
    counted = {"photos": photos, "sbd_masks": sbd / "cls"}
    return {name: len([*folder.iterdir()]) for name, folder in counted.items()}


def convert_masks(
    downloaded: dict[str, int],
    sbd: Partitions[Any],
    voc_masks: Partitions[Any],
    splits: Partitions[Any],
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Turn SBD's masks into indexed PNGs; those of VOC's own train list are VOC's.

    Args:
        downloaded: From `download_voc`; it only makes this node run later.
        sbd: SBD's .mat files.

    Yields:
        Image id to mask (H, W), in mask values, of every image of `train_aug` and of val.
    """
    ids = [*list_images(sbd, splits), *parse_split(splits[VAL](), VAL)]
    readers = {**{i: partial(_read_sbd, sbd[i]) for i in sbd}, **voc_masks}
    masks = map_items(_read, [(i, readers[i]) for i in ids], execution, "Converting masks")
    yield from chunks(masks)


def name_images(downloaded: dict[str, int], sbd: Partitions[Any], splits: Partitions[Any]) -> str:
    """Write the list `train_aug`: one line per image."""
    return "".join(f"{image_id}\n" for image_id in list_images(sbd, splits))


def list_images(sbd: Mapping[str, Any], splits: Partitions[Any]) -> list[str]:
    """List train_aug in order: VOC's train and all of SBD, without VOC's val; 10,582 images."""
    train, val = (set(parse_split(splits[name](), name)) for name in (TRAIN, VAL))
    return sorted(train | (sbd.keys() - val))


def _read_sbd(read: Any) -> LabelMap:
    mask: LabelMap = np.asarray(read()["GTcls"][0]["Segmentation"][0], np.uint8)
    return mask


def _read(read: Callable[[], LabelMap]) -> LabelMap:
    return read()
