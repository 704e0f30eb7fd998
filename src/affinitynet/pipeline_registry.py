"""The project's pipelines by name."""

from collections.abc import Collection

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
)


def register_pipelines() -> dict[str, Pipeline]:
    """Register the pipelines of the base environment."""
    return build_pipelines()


def build_pipelines(
    *,
    rendered: bool = True,
    layout: str = "voc",
    supervision: str = "pseudo_labels",
    beside_masks: Collection[str] = (),
    exported_layout: str = "voc",
) -> dict[str, Pipeline]:
    """Build the pipelines that an environment's parameters ask for.

    Args:
        rendered: The photos are rendered scenes; without, they are the user's, and the pipeline
            that renders them does not exist.
        layout: How the data set's files say what the photos show, see
            `affinitynet.pipelines.ingestion.pipeline.LAYOUTS`.
        supervision: What the segmentation network learns from, see
            `affinitynet.pipelines.segmentation.pipeline.SUPERVISION`.
        beside_masks: What `inference` makes beside the masks, see
            `affinitynet.pipelines.inference.pipeline.BESIDE_MASKS`.
        exported_layout: Of the data set that `labels_export` writes, see
            `affinitynet.pipelines.labels_export.pipeline.LAYOUTS`.

    Returns:
        Name to pipeline; `__default__` is the whole road.
    """
    road = {
        "ingestion": ingestion.create_pipeline(layout),
        "cam": cam.create_pipeline(),
        "affinity_labels": affinity_labels.create_pipeline(),
        "affinity_training": affinity_training.create_pipeline(),
        "revision": revision.create_pipeline(),
        "segmentation": segmentation.create_pipeline(supervision),
        "reporting": reporting.create_pipeline(),
        "export": export.create_pipeline(),
    }
    beside = {
        "search": search.create_pipeline(),
        "inference": inference.create_pipeline(beside_masks),
        "labels_export": labels_export.create_pipeline(exported_layout),
    }
    if rendered:
        road = {"scenes": scenes.create_pipeline()} | road
    elif layout == "voc":
        beside["download"] = download.create_pipeline()
    if layout == "voc":
        beside["submission"] = submission.create_pipeline()
    return {"__default__": sum(road.values(), start=Pipeline([])), **road, **beside}
