"""inference: photos and the newest segmentation checkpoint -> masks, and what is made of them."""

from kedro.pipeline import Pipeline, node, pipeline

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
    return pipeline(
        [
            node(
                inspect_photos,
                inputs=["images", "params:images", "params:execution"],
                outputs="photos",
                name="inspect",
            ),
            node(
                read_tags,
                inputs=[
                    "photos",
                    "tags",
                    "params:tags",
                    "params:data_set",
                    "segmentation.model",
                ],
                outputs="tagged",
                name="read_tags",
            ),
            node(
                segment_photos,
                inputs=[
                    "photos",
                    "segmentation.model",
                    "images",
                    "tagged",
                    "params:inference",
                    "params:execution",
                    "params:confidences",
                    "params:coco",
                ],
                outputs=["confidences", "masks"],
                name="segment",
                tags="per_image",
            ),
            node(
                paint_overlays,
                inputs=["photos", "images", "masks", "segmentation.model", "params:execution"],
                outputs="overlays",
                name="overlay",
                tags="per_image",
            ),
            node(
                gather_coco,
                inputs=[
                    "photos",
                    "masks",
                    "confidences",
                    "segmentation.model",
                    "params:execution",
                ],
                outputs=["coco_results", "coco_images"],
                name="coco",
            ),
            node(
                summarise_photos,
                inputs=["photos", "masks", "segmentation.model", "params:execution"],
                outputs="summary",
                name="summarise",
            ),
            node(
                report_problems,
                inputs=[
                    "photos",
                    "params:images",
                    "params:output",
                    "masks",
                    "overlays",
                    "coco_images",
                    "summary",
                ],
                outputs=None,
                name="report",
            ),
        ],
        namespace="inference",
        inputs={"segmentation.model"},
        parameters={
            "execution",
            "images",
            "output",
            "data_set",
            "tags",
            "params:confidences",
            "params:coco",
            "params:inference",
        },
    )
