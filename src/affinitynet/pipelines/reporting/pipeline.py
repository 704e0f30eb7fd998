"""reporting: every stage's scores and pictures -> tables, plots and the gallery."""

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from affinitynet.pipelines.graph import graph, make_node, per_image_node
from affinitynet.pipelines.reporting.gallery import (
    choose_photos,
    make_gallery,
    measure_walk,
    resolve_walk,
    walk_steps,
)
from affinitynet.pipelines.reporting.plots import (
    plot_confusion,
    plot_coverage,
    plot_stages,
    plot_thresholds,
    plot_training,
    tabulate,
    where_scored,
)

SCORED = ("cam", "affinity_labels", "revision", "segmentation")
OUTPUTS = {
    "photos": "photos",
    "masks": "masks",
    "cams": "cam.maps",
    "labels": "affinity_labels.labels",
    "walked": "revision.maps",
    "pseudo": "revision.labels",
    "predictions": "segmentation.predictions",
    "tagged_masks": "tagged_masks.predictions",
}


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    metrics, image_scores, confusions = (
        " ".join(f"{stage}.{name}" for stage in SCORED)
        for name in ("metrics", "image_scores", "confusion")
    )
    return graph(
        "reporting",
        [
            make_node(tabulate, f"{metrics} tagged_masks.metrics", "stages iou", name="tabulate"),
            make_node(
                where_scored(plot_stages),
                "stages iou classes",
                "stages_plot",
                name="plot_stages",
            ),
            make_node(
                plot_training,
                "cam.history affinity_training.history segmentation.history",
                "training_plot",
                name="plot_training",
            ),
            make_node(
                where_scored(plot_thresholds),
                "cam.threshold_curve",
                "threshold_plot",
                name="plot_thresholds",
            ),
            make_node(
                where_scored(plot_confusion), confusions, "confusion_plot", name="plot_confusion"
            ),
            make_node(
                where_scored(plot_coverage),
                "affinity_labels.image_scores affinity_labels.confusion classes",
                "coverage_plot",
                name="plot_coverage",
            ),
            make_node(
                measure_walk,
                "index cam.maps revision.maps classes revision.chosen",
                "walk_effect",
                name="measure_walk",
            ),
            make_node(
                choose_photos,
                "index tagged_masks.quality tag_check.suspects params:reporting.gallery "
                f"params:seed {image_scores} walk_effect",
                "sample",
                name="choose_photos",
            ),
            make_node(
                resolve_walk,
                "params:revision.random_walk revision.chosen",
                "walk",
                name="resolve_walk",
            ),
            per_image_node(
                walk_steps,
                "sample affinity_training.model photos cam.maps walk params:reporting.gallery "
                "params:execution",
                "walks",
                name="walk_steps",
            ),
            Node(
                make_gallery,
                inputs={
                    "sample": "sample",
                    "stages": "stages",
                    "run": "run",
                    "classes": "classes",
                    "chosen": "revision.chosen",
                    "gallery": "params:reporting.gallery",
                    "execution": "params:execution",
                    "walks": "walks",
                    **OUTPUTS,
                },
                outputs="gallery",
                name="make_gallery",
                confirms="gallery",
            ),
        ],
    )
