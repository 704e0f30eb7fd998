"""ingestion: photos and whatever tells their tags -> one index, once they are sound."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, update_wrapper

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.data.tag_file import read_tagged
from affinitynet.data.tagged import Tagged
from affinitynet.data.voc import read_voc
from affinitynet.errors import UserError
from affinitynet.pipelines.ingestion.nodes import (
    TRAINED,
    build_index,
    check_data_set,
    inspect_photos,
)
from affinitynet.pipelines.ingestion.page import show_data


@dataclass(frozen=True)
class Layout:
    """How a data set's files say what the photos show.

    Attributes:
        read: Maps the photos, `params:data_set` and the sources to `Tagged`.
        sources: Catalog entries of those files.
        folder: Parameter that names the data set's folder.
        masks: Parameter that names the masks' folder.
        masks_told: What `--params` takes to find the masks.
        mask_names: Parameter that names the mask values.
    """

    read: Callable[..., Tagged]
    sources: tuple[str, ...]
    folder: str
    masks: str
    masks_told: str
    mask_names: str


LAYOUTS = {
    "voc": Layout(
        read_voc,
        ("annotations", "splits"),
        folder="voc_root",
        masks="mask_folder",
        masks_told="voc_root=<path>,mask_folder=<name>",
        mask_names="data_set.mask_classes",
    ),
    "tagged": Layout(
        read_tagged,
        ("tags", "masks_header"),
        folder="images",
        masks="data_set.masks",
        masks_told="masks=<path>",
        mask_names="mask_classes",
    ),
}
"""By `data_set.layout`."""


def create_pipeline(layout: str = "voc") -> Pipeline:
    """Build the pipeline.

    The check alone reads the masks, and no output of it leads to a training node. It runs before
    the index is written, and so before everything else, since its name comes first (a test holds
    this order).

    Args:
        layout: A key of `LAYOUTS`.

    Raises:
        UserError: If there is no such layout.
    """
    if layout not in LAYOUTS:
        raise UserError(f"parameter data_set.layout: '{layout}' is none of {', '.join(LAYOUTS)}")
    chosen = LAYOUTS[layout]
    return pipeline(
        [
            node(
                update_wrapper(partial(inspect_photos, chosen.read), inspect_photos),
                inputs=[
                    "photos",
                    "params:data_set",
                    "params:seed",
                    "params:execution",
                    *chosen.sources,
                ],
                outputs=["inspected", "findings"],
                name="inspect",
            ),
            node(
                update_wrapper(
                    partial(
                        check_data_set,
                        parameter=chosen.folder,
                        masks_told=chosen.masks_told,
                        mask_names=chosen.mask_names,
                    ),
                    check_data_set,
                ),
                inputs=[
                    "inspected",
                    "findings",
                    "masks",
                    "params:data_set",
                    f"params:{chosen.folder}",
                    f"params:{chosen.masks}",
                    *(f"params:{stage}.training" for stage in TRAINED),
                    "params:segmentation.supervision",
                    "params:execution",
                ],
                outputs=["report", "class_counts", "co_occurrence", "data_plot"],
                name="check",
            ),
            node(
                build_index,
                inputs=["inspected", "findings"],
                outputs=["index", "classes"],
                name="index",
            ),
            node(
                show_data,
                inputs=[
                    "report",
                    "inspected",
                    "class_counts",
                    "photos",
                    "run",
                    "params:execution",
                ],
                outputs="page",
                name="show",
                confirms="page",
            ),
        ],
        namespace="ingestion",
        inputs={"photos", "masks", "run", *chosen.sources},
        outputs={"index", "classes"},
        parameters={
            "data_set",
            chosen.folder,
            chosen.masks,
            *(f"{stage}.training" for stage in TRAINED),
            "segmentation.supervision",
            "seed",
            "execution",
        },
    )
