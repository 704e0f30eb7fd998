"""search: CAMs and AffinityNet -> affinities -> the best random walk -> the best dense CRF."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.search.nodes import (
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
    return pipeline(
        [
            node(
                choose_photos,
                inputs=["index", "masks", "params:images", "params:seed", "corrected"],
                outputs="sample",
                name="choose",
                tags="scoring",
            ),
            node(
                search_thresholds,
                inputs=[
                    "sample",
                    "cam.maps",
                    "masks",
                    "classes",
                    "params:cam.space.thresholds",
                    "params:execution",
                ],
                outputs="cam_trials",
                name="cam",
                tags="scoring",
            ),
            node(
                compute_affinities,
                inputs=[
                    "sample",
                    "affinity_training.model",
                    "photos",
                    "params:revision.random_walk",
                    "params:execution",
                ],
                outputs="affinities",
                name="affinities",
                confirms="affinities",
                tags="per_image",
            ),
            node(
                search_walks,
                inputs=[
                    "affinities",
                    "cam.maps",
                    "masks",
                    "classes",
                    "params:walk.space",
                    "params:revision.random_walk",
                    "params:execution",
                ],
                outputs="walk_trials",
                name="walk",
                tags="scoring",
            ),
            node(
                walk_best,
                inputs=[
                    "sample",
                    "affinities",
                    "cam.maps",
                    "walk_trials",
                    "params:revision.random_walk",
                    "params:execution",
                ],
                outputs="maps",
                name="walk_best",
                confirms="maps",
                tags="per_image",
            ),
            node(
                search_refinements,
                inputs=[
                    "photos",
                    "maps",
                    "masks",
                    "classes",
                    "params:refine",
                    "params:revision",
                    "params:execution",
                ],
                outputs="refine_trials",
                name="refine",
                tags="scoring",
            ),
            node(
                report_trials,
                inputs=[
                    "sample",
                    "cam_trials",
                    "walk_trials",
                    "refine_trials",
                    "params:walk.space",
                    "params:refine",
                ],
                outputs=["trials", "best"],
                name="report",
            ),
        ],
        namespace="search",
        inputs={
            "index",
            "photos",
            "classes",
            "masks",
            "corrected",
            "cam.maps",
            "affinity_training.model",
        },
        parameters={"seed", "execution", "revision", "revision.random_walk"},
    )
