"""cam: photos and tags -> classifier -> CAMs, scored."""

from kedro.pipeline import Pipeline, node, pipeline
from kedro.pipeline.node import Node

from affinitynet.pipelines.cam.nodes import (
    find_prototypes,
    infer_cams,
    score_cams,
    score_tags,
)
from affinitynet.pipelines.training import initialise_classifier, training_nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    given = ["index", "model", "photos", "classes", "params:cam", "params:execution"]
    return pipeline(
        [
            *training_nodes(initialise_classifier, "cam"),
            node(
                find_prototypes,
                inputs=given,
                outputs="prototypes",
                name="find_prototypes",
            ),
            node(
                infer_cams,
                inputs=[*given, "prototypes"],
                outputs="maps",
                name="infer",
                confirms="maps",
                tags="per_image",
            ),
            scoring_node(),
            node(
                score_tags,
                inputs=given,
                outputs="tag_metrics",
                name="score_tags",
            ),
        ],
        namespace="cam",
        inputs={"index", "photos", "classes", "masks"},
        parameters={"cam", "seed", "execution"},
    )


def scoring_node() -> Node:
    """Build the node that scores CAMs, whoever made them."""
    return node(
        score_cams,
        inputs=["maps", "masks", "classes", "params:cam", "params:execution"],
        outputs=["metrics", "threshold_curve", "confusion", "image_scores"],
        name="score",
        tags="scoring",
    )
