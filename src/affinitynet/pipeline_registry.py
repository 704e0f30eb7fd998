"""The project's pipelines by name, and the nodes that a run may leave out."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines import (
    affinity_labels,
    affinity_training,
    cam,
    download,
    export,
    inference,
    ingestion,
    labels_export,
    reporting,
    revision,
    scenes,
    search,
    segmentation,
    submission,
    tag_check,
    tagged_masks,
)

CONDITIONS = {
    "scenes.render": "scenes",
    "inference.overlay": "overlays",
    "inference.coco": "coco",
    "labels_export.voc_photos": "labels_export.layout=voc",
    "labels_export.voc_labels": "labels_export.layout=voc",
    "labels_export.voc_describe": "labels_export.layout=voc",
    "labels_export.coco_photos": "labels_export.layout=coco",
    "labels_export.coco_describe": "labels_export.layout=coco",
}
"""Node to its condition: a parameter that is not null, or that has a value."""


def register_pipelines() -> dict[str, Pipeline]:
    """Register the pipelines, the same ones whatever the environment and its parameters.

    Returns:
        Name to pipeline. `__default__` goes from the data set to the report.
    """
    default = {
        "scenes": scenes.create_pipeline(),
        "ingestion": ingestion.create_pipeline(),
        "tag_check": tag_check.create_pipeline(),
        "cam": cam.create_pipeline(),
        "affinity_labels": affinity_labels.create_pipeline(),
        "affinity_training": affinity_training.create_pipeline(),
        "revision": revision.create_pipeline(),
        "segmentation": segmentation.create_pipeline(),
        "tagged_masks": tagged_masks.create_pipeline(),
        "reporting": reporting.create_pipeline(),
        "export": export.create_pipeline(),
    }
    return {
        "__default__": sum(default.values(), start=Pipeline([])),
        **default,
        "segmentation_from_masks": segmentation.create_pipeline(labels="masks"),
        "search": search.create_pipeline(),
        "inference": inference.create_pipeline(),
        "labels_export": labels_export.create_pipeline(),
        "submission": submission.create_pipeline(),
        "download": download.create_pipeline(),
    }
