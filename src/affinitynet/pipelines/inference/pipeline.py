"""inference: a folder of photos and the newest segmentation checkpoint -> masks."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.inference.nodes import (
    inspect_photos,
    report_problems,
    segment_photos,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(
                inspect_photos,
                inputs=["images", "params:images", "params:masks", "params:execution"],
                outputs="photos",
                name="inspect",
            ),
            node(
                segment_photos,
                inputs=[
                    "photos",
                    "segmentation.model",
                    "images",
                    "params:inference",
                    "params:execution",
                ],
                outputs="masks",
                name="segment",
                tags="per_image",
            ),
            node(
                report_problems,
                inputs=["photos", "masks", "params:images"],
                outputs=None,
                name="report",
            ),
        ],
        namespace="inference",
        inputs={"segmentation.model"},
        parameters={"execution", "images", "masks", "params:inference"},
    )
