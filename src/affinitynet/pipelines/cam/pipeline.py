"""cam: photos and tags -> classifier -> CAMs, scored."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.cam.nodes import infer_cams, score_cams, score_tags
from affinitynet.pipelines.training import (
    initialise_classifier,
    select_final_checkpoint,
    train_on_tags,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(
                initialise_classifier,
                inputs=["params:network", "classes", "params:seed"],
                outputs="initial",
                name="initialise",
            ),
            node(
                train_on_tags,
                inputs=[
                    "initial",
                    "index",
                    "photos",
                    "classes",
                    "params:training",
                    "params:augmentation",
                    "params:seed",
                    "params:execution",
                ],
                outputs="checkpoints",
                name="train",
                confirms="checkpoints",
                tags="training",
            ),
            node(
                select_final_checkpoint,
                inputs="checkpoints",
                outputs=["model", "history"],
                name="select_final_checkpoint",
            ),
            node(
                infer_cams,
                inputs=[
                    "index",
                    "model",
                    "photos",
                    "classes",
                    "params:inference",
                    "params:execution",
                ],
                outputs="maps",
                name="infer",
                confirms="maps",
                tags="per_image",
            ),
            node(
                score_cams,
                inputs=["maps", "masks", "classes", "params:thresholds", "params:execution"],
                outputs=["metrics", "threshold_curve", "confusion", "image_scores"],
                name="score",
                tags="scoring",
            ),
            node(
                score_tags,
                inputs=[
                    "index",
                    "model",
                    "photos",
                    "classes",
                    "params:inference",
                    "params:execution",
                ],
                outputs="tag_metrics",
                name="score_tags",
            ),
        ],
        namespace="cam",
        inputs={"index", "photos", "classes", "masks"},
        parameters={"seed", "execution"},
    )
