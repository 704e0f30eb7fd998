"""tagged_masks: network, pseudo labels, tags -> a mask of every tagged photo, its quality."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.tagged_masks.nodes import (
    choose_source,
    compare_sources,
    draw_masks,
    estimate_quality,
    label_tagged,
    score_within_tags,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(
                score_within_tags,
                inputs=[
                    "index",
                    "segmentation.model",
                    "photos",
                    "classes",
                    "params:segmentation",
                    "params:execution",
                ],
                outputs="maps",
                name="score_within_tags",
                confirms="maps",
                tags="per_image",
            ),
            node(
                label_tagged,
                inputs=[
                    "index",
                    "classes",
                    "params:revision",
                    "revision.chosen_crf",
                    "params:execution",
                    "photos",
                    "maps",
                    "revision.maps",
                ],
                outputs="labels",
                name="label",
                confirms="labels",
                tags="per_image",
            ),
            node(
                compare_sources,
                inputs=[
                    "index",
                    "labels",
                    "revision.labels",
                    "masks",
                    "corrected",
                    "classes",
                    "params:execution",
                ],
                outputs=["metrics", "confusion", "image_scores"],
                name="compare",
                tags="scoring",
            ),
            node(
                choose_source, inputs=["metrics", "params:source"], outputs="source", name="choose"
            ),
            node(
                draw_masks,
                inputs=[
                    "index",
                    "labels",
                    "revision.labels",
                    "corrected",
                    "classes",
                    "source",
                    "params:execution",
                ],
                outputs="predictions",
                name="draw",
                confirms="predictions",
                tags="per_image",
            ),
            node(
                estimate_quality,
                inputs=[
                    "index",
                    "predictions",
                    "maps",
                    "revision.maps",
                    "corrected",
                    "classes",
                    "params:execution",
                ],
                outputs="quality",
                name="estimate_quality",
            ),
        ],
        namespace="tagged_masks",
        inputs={
            "index",
            "photos",
            "classes",
            "masks",
            "corrected",
            "segmentation.model",
            "revision.maps",
            "revision.labels",
            "revision.chosen_crf",
        },
        parameters={"execution", "revision", "segmentation"},
    )
