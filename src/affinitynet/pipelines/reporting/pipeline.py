"""reporting: every stage's scores and pictures -> tables, plots and sheets of examples."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.reporting.nodes import (
    plot_stages,
    plot_training,
    show_predictions,
    show_training_images,
    tabulate,
)

MAPS = ("cam.maps", "affinity_labels.labels", "revision.maps", "revision.labels")
METRICS = ("cam.metrics", "affinity_labels.metrics", "revision.metrics", "segmentation.metrics")
HISTORIES = ("cam.history", "affinity_training.history", "segmentation.history")


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(tabulate, inputs=[*METRICS], outputs=["stages", "iou"], name="tabulate"),
            node(plot_stages, inputs=["stages", "iou"], outputs="stages_plot", name="plot_stages"),
            node(plot_training, inputs=[*HISTORIES], outputs="training_plot", name="plot_training"),
            node(
                show_training_images,
                inputs=["index", "photos", "masks", *MAPS, "classes", "params:gallery"],
                outputs="training_sheet",
                name="show_training_images",
            ),
            node(
                show_predictions,
                inputs=[
                    "index",
                    "photos",
                    "masks",
                    "segmentation.predictions",
                    "classes",
                    "params:gallery",
                ],
                outputs="prediction_sheet",
                name="show_predictions",
            ),
        ],
        namespace="reporting",
        inputs={
            "index",
            "photos",
            "masks",
            "classes",
            "segmentation.predictions",
            *MAPS,
            *METRICS,
            *HISTORIES,
        },
    )
