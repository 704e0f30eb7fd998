"""labels_export: the newest pseudo labels and their photos -> a data set that other tools open."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.errors import UserError
from affinitynet.pipelines.labels_export.nodes import (
    describe_coco,
    describe_voc,
    select_images,
    take_labels,
    take_photos,
)

LAYOUTS = ("voc", "coco")
LABELS = ["revision.labels", "masks"]
"""What the labels of train and of val are read from."""


def create_pipeline(layout: str = "voc") -> Pipeline:
    """Build the pipeline; it runs only when it is named.

    Args:
        layout: Of the data set, one of `LAYOUTS`.

    Raises:
        UserError: If there is no such layout.
    """
    if layout not in LAYOUTS:
        raise UserError(
            f"parameter labels_export.layout: '{layout}' is none of {', '.join(LAYOUTS)}"
        )
    nodes = [
        node(
            select_images,
            inputs=["index", *LABELS, "params:labels_export"],
            outputs="images",
            name="select",
        ),
        node(
            take_photos,
            inputs=["images", "photos", "params:labels_export", "params:execution"],
            outputs=f"{layout}_photos",
            name="photos",
            confirms=f"{layout}_photos",
            tags="per_image",
        ),
    ]
    if layout == "voc":
        nodes += [
            node(
                take_labels,
                inputs=["images", *LABELS, "classes", "params:execution"],
                outputs="voc_labels",
                name="labels",
                confirms="voc_labels",
                tags="per_image",
            ),
            node(
                describe_voc,
                inputs=["images", "classes"],
                outputs=["voc_annotations", "voc_lists", "voc_classes"],
                name="describe",
                confirms=["voc_annotations", "voc_lists", "voc_classes"],
            ),
        ]
    else:
        nodes.append(
            node(
                describe_coco,
                inputs=["images", *LABELS, "classes", "params:labels_export", "params:execution"],
                outputs="coco_annotations",
                name="describe",
                confirms="coco_annotations",
            )
        )
    return pipeline(
        nodes,
        namespace="labels_export",
        inputs={"index", "photos", "classes", *LABELS},
        parameters={"labels_export", "execution"},
    )
