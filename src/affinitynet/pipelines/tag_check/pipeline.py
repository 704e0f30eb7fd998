"""tag_check: photos and tags -> tags that may be wrong, ranked; classes hard to tell apart."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.tag_check.nodes import check_tags, predict_tags


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(
                predict_tags,
                inputs=[
                    "index",
                    "photos",
                    "classes",
                    "params:cam",
                    "params:tag_check",
                    "params:seed",
                    "params:execution",
                ],
                outputs="probabilities",
                name="predict",
            ),
            node(
                check_tags,
                inputs=["index", "probabilities", "classes"],
                outputs=["suspects", "confusable"],
                name="check",
            ),
        ],
        namespace="tag_check",
        inputs={"index", "photos", "classes"},
        parameters={"seed", "execution", "tag_check", "cam"},
    )
