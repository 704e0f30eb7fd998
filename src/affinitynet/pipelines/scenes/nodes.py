"""Nodes of the `scenes` pipeline."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from PIL import Image

from affinitynet.errors import UserError
from affinitynet.execution import Execution, chunks
from affinitynet.pipelines.parameters import Scenes
from affinitynet.pipelines.per_image import map_items

if TYPE_CHECKING:
    from affinitynet.pipelines.scenes.render import Scene

Items = Mapping[str, Any]


def render_scenes(
    scenes: Scenes | None, seed: int, execution: Execution
) -> Iterator[tuple[Items, Items, Items, Items]]:
    """Render the data set, a few images at a time.

    Args:
        scenes: How many images, and how large; None where the photos are the user's.
        seed: Image i depends only on `[seed, i]`.

    Yields:
        Photos, masks and annotations by image id; with the last, the lists of the splits.
    """
    from affinitynet.pipelines.scenes.render import voc_annotation

    if scenes is None:
        raise UserError("parameter scenes is null: there is nothing to render")
    counts = {split: getattr(scenes, split) for split in ("train", "val")}
    ids = [f"scene_{number:05d}" for number in range(sum(counts.values()))]
    items = [(image_id, [seed, i], scenes.long_side) for i, image_id in enumerate(ids)]
    for chunk in chunks(map_items(_render, items, execution, "Rendering scenes")):
        yield (
            {image_id: Image.fromarray(scene.image) for image_id, scene in chunk.items()},
            {image_id: scene.mask for image_id, scene in chunk.items()},
            {image_id: voc_annotation(image_id, scene) for image_id, scene in chunk.items()},
            {},
        )
    train = counts["train"]
    lists = {"train": ids[:train], "val": ids[train:]}
    yield {}, {}, {}, {split: "\n".join(names) + "\n" for split, names in lists.items()}


def _render(seed: list[int], long_side: int) -> "Scene":
    from affinitynet.pipelines.scenes.render import render_scene

    return render_scene(seed, long_side=long_side)
