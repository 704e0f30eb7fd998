"""labels_export: the newest labels and their photos -> a data set that other tools open."""

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from affinitynet.pipelines.graph import graph, make_node, per_image_node
from affinitynet.pipelines.labels_export.nodes import (
    describe_coco,
    describe_label_studio,
    describe_voc,
    select_images,
    take_labels,
    take_photos,
)

LABELS = "revision.labels segmentation.predictions corrected"
"""Sources of the labels: those of train, of val, and corrected ones."""


def create_pipeline() -> Pipeline:
    """Build the pipeline: the nodes of all layouts, of which a run executes one's."""
    return graph(
        "labels_export",
        [
            make_node(select_images, f"index {LABELS}", "images", name="select"),
            _photos_node("voc"),
            per_image_node(
                take_labels,
                f"images {LABELS} classes params:execution",
                "voc_labels",
                name="voc_labels",
            ),
            make_node(
                describe_voc,
                "images classes",
                "voc_annotations voc_lists voc_classes",
                name="voc_describe",
                confirms=True,
            ),
            _photos_node("coco"),
            make_node(
                describe_coco,
                f"images {LABELS} classes params:labels_export params:execution",
                "coco_annotations",
                name="coco_describe",
                confirms=True,
            ),
            _photos_node("label_studio"),
            make_node(
                describe_label_studio,
                f"images {LABELS} revision.maps classes params:execution",
                "label_studio_tasks label_studio_config",
                name="label_studio_describe",
                confirms=True,
            ),
        ],
    )


def _photos_node(layout: str) -> Node:
    name = f"{layout}_photos"
    given = "images photos params:labels_export params:execution"
    return per_image_node(take_photos, given, name, name=name)
