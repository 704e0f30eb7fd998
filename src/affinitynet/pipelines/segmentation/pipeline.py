"""segmentation: pseudo labels -> segmentation network -> predictions on val, scored."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph, make_node, per_image_node
from affinitynet.pipelines.segmentation.nodes import predict_masks, score_predictions
from affinitynet.pipelines.training import initialise_segmentation_net, training_nodes


def create_pipeline(labels: str = "revision.labels") -> Pipeline:
    """Build the pipeline.

    Args:
        labels: Catalog entry that the network learns from. `masks` gives the fully supervised
            upper bound; only then does the graph lead from the masks to a training node.
    """
    return graph(
        "segmentation",
        [
            *training_nodes(
                initialise_segmentation_net, "segmentation", parents=["cam.model"], labels=labels
            ),
            per_image_node(
                predict_masks,
                "index model photos classes params:segmentation params:execution",
                "predictions",
                name="predict",
            ),
            make_node(
                score_predictions,
                "predictions masks classes params:execution",
                "metrics confusion image_scores",
                name="score",
                tags="scoring",
            ),
        ],
    )
