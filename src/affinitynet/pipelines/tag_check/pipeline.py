"""tag_check: photos and tags -> tags that may be wrong, ranked; classes hard to tell apart."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph, make_node
from affinitynet.pipelines.tag_check.nodes import check_tags, predict_tags


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return graph(
        "tag_check",
        [
            make_node(
                predict_tags,
                "index photos classes params:cam params:tag_check params:seed params:execution",
                "probabilities",
                name="predict",
            ),
            make_node(
                check_tags, "index probabilities classes", "suspects confusable", name="check"
            ),
        ],
    )
