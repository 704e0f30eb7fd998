"""Stages mapped over the images of the catalog, on processes or devices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.data.files import Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError
from affinitynet.execution import (
    Execution,
    chunks,
    item_handlers,
    map_images,
    map_shown,
    pick_device,
    track,
)
from affinitynet.networks.parameters import BatchParameters

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from affinitynet.stages.predictor import NetworkStage

T = TypeVar("T")
B = TypeVar("B", bound=BatchParameters, contravariant=True)
SHARE = 64
"""Images per task on a device. The network is rebuilt for each task."""


class MakeStage(Protocol[B]):
    """A class of `affinitynet.stages` whose objects run a network on a device."""

    def __call__(
        self, checkpoint: Checkpoint, inference: B, device: torch.device, /
    ) -> NetworkStage[Any]:
        """Build the stage."""


def tagged_photos(index: pd.DataFrame) -> pd.DataFrame:
    """Select the training photos that show any class: those that have CAMs and pseudo labels."""
    return index[(index["split"] == "train") & (index["tags"] != "")]


def photos_with(given: Collection[str], index: pd.DataFrame) -> pd.DataFrame:
    """Select the tagged training photos that something is given of, by id."""
    tagged = tagged_photos(index)
    return tagged[tagged.index.isin([*given])]


def draw(photos: pd.DataFrame, count: int | None) -> pd.DataFrame:
    """Draw so many of some photos at most, None for all: the same ones each time, by id."""
    return photos.sample(min(count or len(photos), len(photos)), random_state=0).sort_index()


def checked(maps: Partitions[ClassMaps], name: str) -> Partitions[ClassMaps]:
    """Let score maps be checked when they are read: they must be finite.

    Args:
        name: Of the catalog's entry, for messages.
    """
    return {image_id: partial(_read_maps, read, image_id, name) for image_id, read in maps.items()}


def _read_maps(read: Callable[[], ClassMaps], image_id: str, name: str) -> ClassMaps:
    stored = read()
    if not stored.is_finite():
        raise UserError(
            f"{name} of the photo {image_id} are NaN or infinite. Make them again with: kedro run "
            f"--pipeline {name.partition('.')[0]}"
        )
    return stored


def map_items(
    function: Callable[..., T],
    items: Collection[tuple[Any, ...]],
    execution: Execution,
    description: str,
    **options: bool,
) -> Iterator[tuple[str, T]]:
    """Map a function over `(image id, *arguments)` in processes, with a progress bar.

    Args:
        options: `skip` and `outputs`, see `affinitynet.execution.map_images`.
    """
    return map_shown(
        function, items, total=len(items), execution=execution, description=description, **options
    )


def per_image(
    stage: Callable[..., T],
    ids: Iterable[str],
    inputs: Sequence[Partitions[Any]],
    execution: Execution,
    description: str,
) -> Iterator[dict[str, T]]:
    """Map a stage without a network over images, in processes.

    Args:
        stage: Maps an image's inputs to the result. Picklable.
        ids: The images to do, those left out that lack one of the inputs.
        inputs: The stage's inputs, in its order: the photos, and score maps.

    Yields:
        Image id to result, a few images at a time; images over which processes die are skipped.
    """
    items = [(i, *(each[i] for each in inputs)) for i in ids if all(i in each for each in inputs)]
    do = partial(_read_and_do, stage)
    yield from chunks(map_items(do, items, execution, description, skip=True, outputs=True))


def _read_and_do(stage: Callable[..., T], *reads: Callable[[], Any]) -> T:
    return stage(*(read() for read in reads))


@dataclass(frozen=True)
class NetworkWork(Generic[B]):
    """A stage with a network, and where it runs.

    Attributes:
        make: Builds the stage on a device. Picklable, as are the stage's results.
        model: Its network.
        inference: How photos are read and scored.
        execution: Engine and devices.
        description: For the progress bar.
    """

    make: MakeStage[B]
    model: Checkpoint
    inference: B
    execution: Execution
    description: str


def per_batch(
    work: NetworkWork[Any],
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    inputs: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Map a stage with a network over images, on devices, for a node; see `map_on_devices`.

    Yields:
        Image id to result, a few images at a time.
    """
    yield from chunks(map_on_devices(work, index, photos, inputs, outputs=True))


def map_on_devices(
    work: NetworkWork[Any],
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    inputs: Mapping[str, Any] | None = None,
    *,
    outputs: bool = False,
    take: Callable[[Any], Any] | None = None,
) -> Iterator[tuple[str, Any]]:
    """Run a stage in this process, or in processes that have a device each.

    Args:
        index: The images to do, with `width` and `height`.
        inputs: Further input of each image, or a function that reads it.
        outputs: Whether the results are a node's output: then they are saved where they are made,
            see `affinitynet.execution.map_images`.
        take: Maps a result to the part that is wanted.

    Yields:
        Image id and result; images over which processes die are skipped.
    """
    if index.empty:
        return
    sizes = sizes_of(index)
    save = item_handlers().save_item if outputs else None
    do = partial(_do_share, work, take, save)
    if work.execution.in_process:
        yield from track(do(sizes, photos, inputs), work.description, total=len(index))
        return
    shares = _shares(sizes, work.inference)
    results = map_images(
        _Shares(do),
        (_share(ids, sizes, photos, inputs) for ids in shares),
        total=len(shares),
        execution=work.execution,
        networks=True,
        skip=True,
    )
    pairs = (pair for _, pairs in results for pair in pairs)
    yield from track(pairs, work.description, total=len(index))


Share = tuple[str, dict[str, tuple[int, int]], dict[str, Callable[[], Any]], dict[str, Any] | None]
"""Name of a task; sizes, photos and further inputs of its images."""


def _share(
    ids: list[str],
    sizes: Mapping[str, tuple[int, int]],
    photos: Partitions[Image.Image],
    inputs: Mapping[str, Any] | None,
) -> Share:
    some = {i: inputs[i] for i in ids} if inputs else None
    return ids[0], {i: sizes[i] for i in ids}, {i: photos[i] for i in ids}, some


@dataclass(frozen=True)
class _Shares:
    """Does a task's images together; see `affinitynet.execution.engine.Group`."""

    do: Callable[..., Iterator[tuple[str, Any]]]

    def __call__(self, *share: Any) -> list[tuple[str, Any]]:
        return [*self.do(*share)]

    def split(self, _: str, sizes: Any, photos: Any, inputs: Any) -> list[Share]:
        return [_share([image_id], sizes, photos, inputs) for image_id in sizes]


def sizes_of(index: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Image id to height and width."""
    sizes = zip(index["height"].tolist(), index["width"].tolist(), strict=True)
    return dict(zip(index.index, sizes, strict=True))


def _shares(sizes: Mapping[str, tuple[int, int]], inference: BatchParameters) -> list[list[str]]:
    """Divide images into tasks of whole batches."""
    from affinitynet.stages.batches import plan_batches

    size = inference.batch_size
    plan = plan_batches(sizes, long_side=inference.long_side, batch_size=size)
    some = max(1, SHARE // size)
    return [
        [image_id for batch in plan[start : start + some] for image_id in batch]
        for start in range(0, len(plan), some)
    ]


def _do_share(
    work: NetworkWork[Any],
    take: Callable[[Any], Any] | None,
    save: Callable[[str, Any], Any] | None,
    sizes: Mapping[str, tuple[int, int]],
    photos: Partitions[Image.Image],
    inputs: Mapping[str, Any] | None,
) -> Iterator[tuple[str, Any]]:
    stage = work.make(work.model, work.inference, pick_device(work.execution))
    for image_id, result in stage.stream(stage.reader.read(sizes, photos, inputs)):
        wanted = take(result) if take else result
        yield image_id, save(image_id, wanted) if save else wanted
