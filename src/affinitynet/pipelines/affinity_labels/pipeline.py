"""affinity_labels: CAMs -> confident label maps, scored."""

from kedro.pipeline import Pipeline, node, pipeline
from kedro.pipeline.node import Node

from affinitynet.pipelines.affinity_labels.nodes import (
    choose_alphas,
    label_pixels,
    score_labels,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(
                choose_alphas,
                inputs=[
                    "index",
                    "cam.model",
                    "photos",
                    "cam.maps",
                    "params:affinity_labels",
                    "params:affinity_training",
                    "params:execution",
                ],
                outputs="chosen",
                name="choose",
            ),
            node(
                label_pixels,
                inputs=[
                    "index",
                    "photos",
                    "cam.maps",
                    "classes",
                    "params:affinity_labels",
                    "chosen",
                    "params:execution",
                ],
                outputs="labels",
                name="label",
                confirms="labels",
                tags="per_image",
            ),
            scoring_node(),
        ],
        namespace="affinity_labels",
        inputs={"index", "photos", "classes", "masks", "corrected", "cam.model", "cam.maps"},
        parameters={"affinity_labels", "affinity_training", "execution"},
    )


def scoring_node() -> Node:
    """Build the node that scores labels with neutral pixels, whoever made them."""
    return node(
        score_labels,
        inputs=["labels", "masks", "corrected", "index", "classes", "params:execution"],
        outputs=["metrics", "confusion", "image_scores"],
        name="score",
        tags="scoring",
    )
