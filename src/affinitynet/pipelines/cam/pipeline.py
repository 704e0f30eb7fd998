"""cam: photos and tags -> classifier -> CAMs, scored."""

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from affinitynet.pipelines.cam.nodes import find_prototypes, infer_cams, score_cams, score_tags
from affinitynet.pipelines.graph import graph, make_node, per_image_node
from affinitynet.pipelines.training import initialise_classifier, training_nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    given = "index model photos classes params:cam params:execution"
    return graph(
        "cam",
        [
            *training_nodes(initialise_classifier, "cam"),
            make_node(find_prototypes, given, "prototypes", name="find_prototypes"),
            per_image_node(infer_cams, f"{given} prototypes", "maps", name="infer"),
            scoring_node(),
            make_node(score_tags, given, "tag_metrics", name="score_tags"),
        ],
    )


def scoring_node() -> Node:
    """Build the node that scores CAMs, whoever made them."""
    return make_node(
        score_cams,
        "maps masks classes params:cam params:execution",
        "metrics threshold_curve confusion image_scores",
        name="score",
        tags="scoring",
    )
