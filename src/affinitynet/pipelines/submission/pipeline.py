"""submission: a list of photos and the newest segmentation network -> a zip for VOC's server."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph, make_node, per_image_node
from affinitynet.pipelines.submission.nodes import list_images, pack, segment_images


def create_pipeline() -> Pipeline:
    """Build the pipeline; it runs only when it is named."""
    return graph(
        "submission",
        [
            make_node(
                list_images,
                "splits photos params:submission params:execution",
                "images",
                name="list",
            ),
            per_image_node(
                segment_images,
                "images segmentation.model photos classes params:segmentation params:execution",
                "predictions",
                name="segment",
            ),
            make_node(pack, "predictions params:submission", "archive", name="pack"),
        ],
    )
