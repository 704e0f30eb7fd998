"""tagged_masks: network, pseudo labels, tags -> a mask of every tagged photo, its quality."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph, make_node, per_image_node
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
    return graph(
        "tagged_masks",
        [
            per_image_node(
                score_within_tags,
                "index segmentation.model photos classes params:segmentation params:execution",
                "maps",
                name="score_within_tags",
            ),
            per_image_node(
                label_tagged,
                "index classes params:revision revision.chosen_crf params:execution photos maps "
                "revision.maps",
                "labels",
                name="label",
            ),
            make_node(
                compare_sources,
                "index labels revision.labels masks corrected classes params:execution",
                "metrics confusion image_scores",
                name="compare",
                tags="scoring",
            ),
            make_node(choose_source, "metrics params:tagged_masks.source", "source", name="choose"),
            per_image_node(
                draw_masks,
                "index labels revision.labels corrected classes source params:execution",
                "predictions",
                name="draw",
            ),
            make_node(
                estimate_quality,
                "index predictions maps revision.maps corrected classes params:execution",
                "quality",
                name="estimate_quality",
            ),
        ],
    )
