"""affinity_labels: CAMs -> confident label maps, scored."""

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from affinitynet.pipelines.affinity_labels.nodes import choose_alphas, label_pixels, score_labels
from affinitynet.pipelines.graph import graph, make_node, per_image_node


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return graph(
        "affinity_labels",
        [
            make_node(
                choose_alphas,
                "index cam.model photos cam.maps params:affinity_labels params:affinity_training "
                "params:execution",
                "chosen",
                name="choose",
            ),
            per_image_node(
                label_pixels,
                "index photos cam.maps classes params:affinity_labels chosen params:execution",
                "labels",
                name="label",
            ),
            scoring_node(),
        ],
    )


def scoring_node() -> Node:
    """Build the node that scores labels with neutral pixels, whoever made them."""
    return make_node(
        score_labels,
        "labels masks corrected index classes params:execution",
        "metrics confusion image_scores",
        name="score",
        tags="scoring",
    )
