"""labels_export: the newest labels and their photos -> a data set that other tools open."""

from kedro.pipeline import Pipeline, node, pipeline
from kedro.pipeline.node import Node

from affinitynet.pipelines.labels_export.nodes import (
    describe_coco,
    describe_label_studio,
    describe_voc,
    select_images,
    take_labels,
    take_photos,
)

LABELS = ["revision.labels", "segmentation.predictions", "corrected"]
"""Sources of the labels: those of train, of val, and corrected ones."""


def create_pipeline() -> Pipeline:
    """Build the pipeline: the nodes of all layouts, of which a run executes one's."""
    return pipeline(
        [
            node(
                select_images,
                inputs=["index", *LABELS],
                outputs="images",
                name="select",
            ),
            _photos_node("voc"),
            node(
                take_labels,
                inputs=["images", *LABELS, "classes", "params:execution"],
                outputs="voc_labels",
                name="voc_labels",
                confirms="voc_labels",
                tags="per_image",
            ),
            node(
                describe_voc,
                inputs=["images", "classes"],
                outputs=["voc_annotations", "voc_lists", "voc_classes"],
                name="voc_describe",
                confirms=["voc_annotations", "voc_lists", "voc_classes"],
            ),
            _photos_node("coco"),
            node(
                describe_coco,
                inputs=["images", *LABELS, "classes", "params:labels_export", "params:execution"],
                outputs="coco_annotations",
                name="coco_describe",
                confirms="coco_annotations",
            ),
            _photos_node("label_studio"),
            node(
                describe_label_studio,
                inputs=["images", *LABELS, "revision.maps", "classes", "params:execution"],
                outputs=["label_studio_tasks", "label_studio_config"],
                name="label_studio_describe",
                confirms=["label_studio_tasks", "label_studio_config"],
            ),
        ],
        namespace="labels_export",
        inputs={"index", "photos", "classes", "revision.maps", *LABELS},
        parameters={"labels_export", "execution"},
    )


def _photos_node(layout: str) -> Node:
    return node(
        take_photos,
        inputs=["images", "photos", "params:labels_export", "params:execution"],
        outputs=f"{layout}_photos",
        name=f"{layout}_photos",
        confirms=f"{layout}_photos",
        tags="per_image",
    )
