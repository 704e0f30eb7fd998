"""reporting: every stage's scores and pictures -> tables, plots and the gallery."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.reporting.gallery import (
    choose_photos,
    make_gallery,
    measure_walk,
    walk_steps,
)
from affinitynet.pipelines.reporting.nodes import tabulate
from affinitynet.pipelines.reporting.plots import (
    plot_confusion,
    plot_coverage,
    plot_stages,
    plot_thresholds,
    plot_training,
    where_scored,
)

SCORED = ("cam", "affinity_labels", "revision", "segmentation")
TRAINED = ("cam", "affinity_training", "segmentation")
MAPS = ("cam.maps", "affinity_labels.labels", "revision.maps", "revision.labels")
METRICS = [f"{stage}.metrics" for stage in SCORED]
IMAGE_SCORES = [f"{stage}.image_scores" for stage in SCORED]
CONFUSIONS = [f"{stage}.confusion" for stage in SCORED]
HISTORIES = [f"{stage}.history" for stage in TRAINED]


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(tabulate, inputs=METRICS, outputs=["stages", "iou"], name="tabulate"),
            node(
                where_scored(plot_stages),
                inputs=["stages", "iou", "classes"],
                outputs="stages_plot",
                name="plot_stages",
            ),
            node(plot_training, inputs=HISTORIES, outputs="training_plot", name="plot_training"),
            node(
                where_scored(plot_thresholds),
                inputs="cam.threshold_curve",
                outputs="threshold_plot",
                name="plot_thresholds",
            ),
            node(
                where_scored(plot_confusion),
                inputs=CONFUSIONS,
                outputs="confusion_plot",
                name="plot_confusion",
            ),
            node(
                where_scored(plot_coverage),
                inputs=["affinity_labels.image_scores", "affinity_labels.confusion", "classes"],
                outputs="coverage_plot",
                name="plot_coverage",
            ),
            node(
                measure_walk,
                inputs=[
                    "index",
                    "cam.maps",
                    "revision.maps",
                    "classes",
                    "params:revision.random_walk",
                    "revision.chosen",
                ],
                outputs="walk_effect",
                name="measure_walk",
            ),
            node(
                choose_photos,
                inputs=[
                    "index",
                    *IMAGE_SCORES,
                    "walk_effect",
                    "tagged_masks.quality",
                    "tag_check.suspects",
                    "params:gallery",
                    "params:seed",
                ],
                outputs="sample",
                name="choose_photos",
            ),
            node(
                walk_steps,
                inputs=[
                    "sample",
                    "affinity_training.model",
                    "photos",
                    "cam.maps",
                    "params:revision.random_walk",
                    "revision.chosen",
                    "params:gallery",
                    "params:execution",
                ],
                outputs="walks",
                name="walk_steps",
                confirms="walks",
                tags="per_image",
            ),
            node(
                make_gallery,
                inputs=[
                    "sample",
                    "photos",
                    "masks",
                    *MAPS,
                    "segmentation.predictions",
                    "tagged_masks.predictions",
                    "walks",
                    "stages",
                    "run",
                    "classes",
                    "params:revision.random_walk",
                    "revision.chosen",
                    "params:gallery",
                    "params:execution",
                ],
                outputs="gallery",
                name="make_gallery",
                confirms="gallery",
            ),
        ],
        namespace="reporting",
        inputs={
            "index",
            "photos",
            "masks",
            "classes",
            "run",
            "segmentation.predictions",
            "tagged_masks.predictions",
            "tagged_masks.quality",
            "tag_check.suspects",
            "affinity_training.model",
            "revision.chosen",
            "cam.threshold_curve",
            *MAPS,
            *METRICS,
            *IMAGE_SCORES,
            *CONFUSIONS,
            *HISTORIES,
        },
        parameters={"seed", "execution", "revision.random_walk"},
    )
