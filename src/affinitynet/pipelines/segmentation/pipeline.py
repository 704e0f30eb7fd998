"""segmentation: pseudo labels -> segmentation network -> predictions on val, scored."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.segmentation.nodes import predict_masks, score_predictions
from affinitynet.pipelines.training import (
    initialise_segmentation_net,
    select_final_checkpoint,
    train_on_pixels,
)


def create_pipeline(labels: str = "revision.labels") -> Pipeline:
    """Build the pipeline.

    Args:
        labels: Catalog entry that the network learns from. `masks` gives the fully supervised
            upper bound; only then does the graph lead from the masks to a training node.
    """
    return pipeline(
        [
            node(
                initialise_segmentation_net,
                inputs=[
                    "params:network",
                    "classes",
                    "params:seed",
                    "cam.model",
                    "params:inference",
                ],
                outputs="initial",
                name="initialise",
            ),
            node(
                train_on_pixels,
                inputs=[
                    "initial",
                    "index",
                    "photos",
                    labels,
                    "corrected",
                    "params:corrected_repeats",
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
                predict_masks,
                inputs=[
                    "index",
                    "model",
                    "photos",
                    "classes",
                    "params:inference",
                    "params:execution",
                ],
                outputs="predictions",
                name="predict",
                confirms="predictions",
                tags="per_image",
            ),
            node(
                score_predictions,
                inputs=["predictions", "masks", "classes", "params:execution"],
                outputs=["metrics", "confusion", "image_scores"],
                name="score",
                tags="scoring",
            ),
        ],
        namespace="segmentation",
        inputs={"index", "photos", "classes", "masks", "corrected", "cam.model", labels},
        parameters={"seed", "execution", "corrected_repeats"},
    )
