"""Nodes of the `submission` pipeline."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from io import BytesIO
from zipfile import ZipFile

from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.label_maps import Classes, LabelMap
from affinitynet.data.files import Partitions, inspect_photo
from affinitynet.data.voc import parse_split
from affinitynet.datasets.label_map import indexed_image
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError
from affinitynet.execution import Execution, chunks
from affinitynet.pipelines.parameters import Segmentation, Submission
from affinitynet.pipelines.per_image import map_items
from affinitynet.pipelines.segmentation.nodes import check_classes, segment


def list_images(
    splits: Partitions[bytes] | None,
    photos: Partitions[Image.Image],
    submission: Submission,
    execution: Execution,
) -> pd.DataFrame:
    """List the images to submit, with their photos' sizes; they have no annotations.

    Args:
        splits: Of VOC's layout; None of another one.
        submission: Names the list.

    Returns:
        One row an image, by `id`: `width` and `height` in pixels.

    Raises:
        UserError: If the list is missing or empty, or a photo is missing or cannot be read.
    """
    ids = _read_list(splits, photos, submission.list)
    sizes: dict[str, tuple[int, int]] = {}
    items = [(image_id, photos[image_id]) for image_id in ids]
    opened = map_items(inspect_photo, items, execution, "Opening photos")
    for image_id, (width, height, problem) in opened:
        if problem:
            raise UserError(f"JPEGImages/{image_id}.jpg: cannot be read ({problem})")
        sizes[image_id] = width, height
    table = pd.DataFrame.from_dict(sizes, "index", columns=["width", "height"])
    return table.rename_axis("id")


def _read_list(
    splits: Partitions[bytes] | None, photos: Collection[str], name: str
) -> Sequence[str]:
    if splits is None:
        raise UserError("submission needs VOC's layout and lists: --env voc or voc_cpu")
    ids = parse_split(splits[name](), name, photos) if name in splits else []
    if not ids:
        raise UserError(
            f"ImageSets/Segmentation/{name}.txt: {'empty' if name in splits else 'missing'} "
            "(parameter submission.list). VOC's test photos and list come as an archive of their "
            "own, VOC2012test.tar, from its evaluation server"
        )
    if missing := [image_id for image_id in ids if image_id not in photos]:
        raise UserError(
            f"JPEGImages/{missing[0]}.jpg: missing, but named in ImageSets/Segmentation/{name}.txt"
            + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
        )
    return ids


def segment_images(
    images: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    classes: Classes,
    segmentation: Segmentation,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Segment the images to submit, at their own size.

    Yields:
        Image id to its mask, in mask values.

    Raises:
        UserError: If the checkpoint was trained for other classes.
    """
    check_classes(model, classes)
    yield from chunks(segment(images, model, photos, segmentation.inference, execution))


def pack(predictions: Partitions[LabelMap], submission: Submission) -> bytes:
    """Pack the masks as the server takes them.

    Returns:
        A zip file of `results/VOC2012/Segmentation/<competition>/<id>.png`, indexed PNGs with
        VOC's palette.
    """
    folder = f"results/VOC2012/Segmentation/{submission.competition}"
    archive = BytesIO()
    with ZipFile(archive, "w") as packed:
        for image_id in sorted(predictions):
            file = BytesIO()
            indexed_image(predictions[image_id]()).save(file, "png")
            packed.writestr(f"{folder}/{image_id}.png", file.getvalue())
    return archive.getvalue()
