"""revision: CAMs and AffinityNet -> random walk -> pseudo labels, scored."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph, make_node, per_image_node
from affinitynet.pipelines.revision.nodes import (
    check_segments,
    choose_crf,
    choose_walk,
    make_pseudo_labels,
    score_revision,
    walk_cams,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return graph(
        "revision",
        [
            make_node(
                choose_walk,
                "index affinity_training.model photos cam.maps params:revision.random_walk "
                "params:search.walk.space params:execution",
                "chosen trials",
                name="choose",
            ),
            per_image_node(
                walk_cams,
                "index affinity_training.model photos cam.maps params:revision.random_walk "
                "trials params:execution",
                "maps",
                name="walk",
            ),
            make_node(
                check_segments,
                "index segments params:revision.vote params:execution",
                "segments_report",
                name="check_segments",
            ),
            make_node(
                choose_crf,
                "index corrected classes params:revision params:execution photos maps segments",
                "chosen_crf",
                name="choose_crf",
            ),
            per_image_node(
                make_pseudo_labels,
                "index classes params:revision chosen_crf params:execution photos maps segments",
                "labels",
                name="refine",
            ),
            make_node(
                score_revision,
                "maps labels masks corrected index classes params:execution",
                "metrics confusion image_scores",
                name="score",
                tags="scoring",
            ),
        ],
    )
