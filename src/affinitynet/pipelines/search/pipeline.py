"""search: CAMs and AffinityNet -> affinities -> the best random walk -> the best dense CRF."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph, make_node, per_image_node
from affinitynet.pipelines.search.nodes import (
    add_present,
    choose_photos,
    compute_affinities,
    report_trials,
    search_refinements,
    search_thresholds,
    search_walks,
    walk_best,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return graph(
        "search",
        [
            make_node(
                choose_photos,
                "index masks params:search.images params:seed corrected",
                "sample",
                name="choose",
                tags="scoring",
            ),
            make_node(
                search_thresholds,
                "sample cam.maps masks classes params:search.cam.space.thresholds params:execution",
                "cam_trials",
                name="cam",
                tags="scoring",
            ),
            per_image_node(
                compute_affinities,
                "sample affinity_training.model photos params:revision.random_walk "
                "params:execution",
                "affinities",
                name="affinities",
            ),
            make_node(
                search_walks,
                "affinities cam.maps masks classes params:search.walk.space "
                "params:revision.random_walk params:execution",
                "grid_trials",
                name="walk",
                tags="scoring",
            ),
            make_node(
                add_present,
                "grid_trials sample revision.maps masks classes params:revision.random_walk "
                "params:execution",
                "walk_trials",
                name="add_present",
                tags="scoring",
            ),
            per_image_node(
                walk_best,
                "sample affinities cam.maps revision.maps walk_trials params:revision.random_walk "
                "params:execution",
                "maps",
                name="walk_best",
            ),
            make_node(
                search_refinements,
                "photos maps masks classes params:search.refine params:revision params:execution",
                "refine_trials",
                name="refine",
                tags="scoring",
            ),
            make_node(
                report_trials,
                "sample cam_trials walk_trials refine_trials params:search.walk.space "
                "params:search.refine",
                "trials best",
                name="report",
            ),
        ],
    )
