"""revision: CAMs and AffinityNet -> random walk -> pseudo labels, scored."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.revision.nodes import (
    check_segments,
    choose_crf,
    choose_photos,
    choose_walk,
    make_pseudo_labels,
    score_revision,
    walk_cams,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(
                choose_photos,
                inputs=["index", "cam.maps", "params:compared", "params:seed"],
                outputs="sample",
                name="sample",
            ),
            node(
                choose_walk,
                inputs=[
                    "sample",
                    "affinity_training.model",
                    "photos",
                    "cam.maps",
                    "params:random_walk",
                    "params:search.walk.space",
                    "params:execution",
                ],
                outputs=["chosen", "choices"],
                name="choose",
            ),
            node(
                walk_cams,
                inputs=[
                    "index",
                    "affinity_training.model",
                    "photos",
                    "cam.maps",
                    "params:random_walk",
                    "choices",
                    "params:execution",
                ],
                outputs="maps",
                name="walk",
                confirms="maps",
                tags="per_image",
            ),
            node(
                check_segments,
                inputs=["index", "segments", "params:vote", "params:execution"],
                outputs="segments_report",
                name="check_segments",
            ),
            node(
                choose_crf,
                inputs=[
                    "index",
                    "corrected",
                    "classes",
                    "params:revision",
                    "params:execution",
                    "photos",
                    "maps",
                    "segments",
                ],
                outputs="chosen_crf",
                name="choose_crf",
            ),
            node(
                make_pseudo_labels,
                inputs=[
                    "index",
                    "classes",
                    "params:revision",
                    "chosen_crf",
                    "params:execution",
                    "photos",
                    "maps",
                    "segments",
                ],
                outputs="labels",
                name="refine",
                confirms="labels",
                tags="per_image",
            ),
            node(
                score_revision,
                inputs=[
                    "maps",
                    "labels",
                    "masks",
                    "corrected",
                    "index",
                    "classes",
                    "params:execution",
                ],
                outputs=["metrics", "confusion", "image_scores"],
                name="score",
                tags="scoring",
            ),
        ],
        namespace="revision",
        inputs={
            "index",
            "photos",
            "classes",
            "masks",
            "corrected",
            "segments",
            "cam.maps",
            "affinity_training.model",
        },
        parameters={"seed", "execution", "revision", "search.walk.space"},
    )
