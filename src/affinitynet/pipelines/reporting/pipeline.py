"""reporting: every stage's scores and pictures -> tables, plots and the gallery."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.reporting.gallery import (
    choose_photos,
    make_gallery,
    measure_walk,
    resolve_walk,
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
METRICS = [f"{stage}.metrics" for stage in (*SCORED, "tagged_masks")]
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
                    "revision.choices",
                ],
                outputs="walk_effect",
                name="measure_walk",
            ),
            node(
                choose_photos,
                inputs=[
                    "index",
                    "tagged_masks.quality",
                    "tag_check.suspects",
                    "params:gallery",
                    "params:seed",
                    *IMAGE_SCORES,
                    "walk_effect",
                    "revision.choices",
                ],
                outputs="sample",
                name="choose_photos",
            ),
            node(
                resolve_walk,
                inputs=["params:revision.random_walk", "revision.chosen"],
                outputs="walk",
                name="resolve_walk",
            ),
            node(
                walk_steps,
                inputs=[
                    "sample",
                    "affinity_training.model",
                    "photos",
                    "cam.maps",
                    "walk",
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
                inputs={
                    "sample": "sample",
                    "stages": "stages",
                    "run": "run",
                    "classes": "classes",
                    "chosen": "revision.chosen",
                    "gallery": "params:gallery",
                    "execution": "params:execution",
                    "walks": "walks",
                    **OUTPUTS,
                },
                outputs="gallery",
                name="make_gallery",
                confirms="gallery",
            ),
        ],
        namespace="reporting",
        inputs={
            "index",
            "classes",
            "run",
            "tagged_masks.quality",
            "tag_check.suspects",
            "affinity_training.model",
            "revision.chosen",
            "revision.choices",
            "cam.threshold_curve",
            *OUTPUTS.values(),
            *METRICS,
            *IMAGE_SCORES,
            *CONFUSIONS,
            *HISTORIES,
        },
        parameters={"seed", "execution", "revision.random_walk"},
    )
