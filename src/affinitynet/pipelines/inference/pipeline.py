"""inference: photos and the newest segmentation checkpoint -> masks, and what is made of them."""

from collections.abc import Collection

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.inference.nodes import (
    gather_coco,
    inspect_photos,
    paint_overlays,
    report_problems,
    segment_photos,
    segment_photos_with_confidence,
)

BESIDE_MASKS = ("overlays", "confidences", "coco")
"""What can be made beside the masks: parameters that name a folder for it, or none."""


def create_pipeline(beside_masks: Collection[str] = ()) -> Pipeline:
    """Build the pipeline.

    Args:
        beside_masks: Those of `BESIDE_MASKS` that are asked for.
    """
    confident = "confidences" in beside_masks or "coco" in beside_masks
    nodes = [
        node(
            inspect_photos,
            inputs=["images", "params:images", "params:execution"],
            outputs="photos",
            name="inspect",
        ),
        node(
            segment_photos_with_confidence if confident else segment_photos,
            inputs=[
                "photos",
                "segmentation.model",
                "images",
                "params:inference",
                "params:execution",
            ],
            outputs=["confidences", "masks"] if confident else "masks",
            name="segment",
            tags="per_image",
        ),
    ]
    made = ["masks"]
    if "overlays" in beside_masks:
        nodes.append(
            node(
                paint_overlays,
                inputs=["photos", "images", "masks", "params:execution"],
                outputs="overlays",
                name="overlay",
                tags="per_image",
            )
        )
        made.append("overlays")
    if "coco" in beside_masks:
        nodes.append(
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
            )
        )
        made.append("coco_images")
    nodes.append(
        node(
            report_problems,
            inputs=["photos", "params:images", "params:output", *made],
            outputs=None,
            name="report",
        )
    )
    return pipeline(
        nodes,
        namespace="inference",
        inputs={"segmentation.model"},
        parameters={"execution", "images", "output", "params:inference"},
    )
