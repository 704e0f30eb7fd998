"""inference: photos and the newest segmentation checkpoint -> masks, and what is made of them."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph, make_node
from affinitynet.pipelines.inference.nodes import (
    gather_coco,
    inspect_photos,
    paint_overlays,
    read_tags,
    report_problems,
    segment_photos,
    summarise_photos,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline; a run executes `overlay` and `coco` where their folder is given."""
    return graph(
        "inference",
        [
            make_node(
                inspect_photos,
                "inference.images params:images params:execution",
                "photos",
                name="inspect",
            ),
            make_node(
                read_tags,
                "photos inference.tags params:tags params:data_set segmentation.model",
                "tagged",
                name="read_tags",
            ),
            make_node(
                segment_photos,
                "photos segmentation.model inference.images tagged params:inference "
                "params:execution params:confidences params:coco",
                "confidences masks",
                name="segment",
                tags="per_image",
            ),
            make_node(
                paint_overlays,
                "photos inference.images masks segmentation.model params:execution",
                "overlays",
                name="overlay",
                tags="per_image",
            ),
            make_node(
                gather_coco,
                "photos masks confidences segmentation.model params:execution",
                "coco_results coco_images",
                name="coco",
            ),
            make_node(
                summarise_photos,
                "photos masks segmentation.model params:execution",
                "summary",
                name="summarise",
            ),
            make_node(
                report_problems,
                "photos params:images params:output masks overlays coco_images summary",
                "",
                name="report",
            ),
        ],
    )
