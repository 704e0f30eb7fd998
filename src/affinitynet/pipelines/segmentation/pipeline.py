"""segmentation: pseudo labels -> segmentation network -> predictions on val, scored."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.segmentation.nodes import predict_masks, score_predictions
from affinitynet.pipelines.training import initialise_segmentation_net, training_nodes


def create_pipeline(labels: str = "revision.labels") -> Pipeline:
    """Build the pipeline.

    Args:
        labels: Catalog entry that the network learns from. `masks` gives the fully supervised
            upper bound; only then does the graph lead from the masks to a training node.
    """
    return pipeline(
        [
            *training_nodes(
                initialise_segmentation_net, "segmentation", parents=["cam.model"], labels=labels
            ),
            node(
                predict_masks,
                inputs=[
                    "index",
                    "model",
                    "photos",
                    "classes",
                    "params:segmentation",
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
        parameters={"segmentation", "seed", "execution", "corrected_repeats"},
    )
