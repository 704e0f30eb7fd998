"""The project's pipelines by name, and the nodes that a run may leave out."""

from collections.abc import Iterable

from kedro.pipeline import Pipeline

from affinitynet.pipelines import (
    affinity_labels,
    affinity_training,
    cam,
    download,
    export,
    import_maps,
    inference,
    ingestion,
    labels_export,
    reporting,
    revision,
    scenes,
    search,
    segmentation,
    self_training,
    submission,
    tag_check,
    tagged_masks,
)

CONDITIONS = {
    "scenes.render": "scenes",
    "ingestion.check_corrections": "corrected",
    "revision.check_segments": "revision.vote.segments",
    "export.export_onnx": "export.onnx",
    "export.export_int8": "export.int8",
    "inference.overlay": "overlays",
    "inference.coco": "coco",
    "labels_export.voc_photos": "labels_export.layout=voc",
    "labels_export.voc_labels": "labels_export.layout=voc",
    "labels_export.voc_describe": "labels_export.layout=voc",
    "labels_export.coco_photos": "labels_export.layout=coco",
    "labels_export.coco_describe": "labels_export.layout=coco",
    "labels_export.label_studio_photos": "labels_export.layout=label_studio",
    "labels_export.label_studio_describe": "labels_export.layout=label_studio",
}
"""Node to its condition: a parameter that is not null, or that has a value."""

DEFAULT = {
    "scenes": scenes,
    "ingestion": ingestion,
    "tag_check": tag_check,
    "cam": cam,
    "affinity_labels": affinity_labels,
    "affinity_training": affinity_training,
    "revision": revision,
    "segmentation": segmentation,
    "tagged_masks": tagged_masks,
    "reporting": reporting,
    "export": export,
}
"""What `__default__` consists of."""


def register_pipelines() -> dict[str, Pipeline]:
    """Register the pipelines, the same ones whatever the environment and its parameters.

    Returns:
        Name to pipeline. `__default__` goes from the data set to the report.
    """
    default = {name: module.create_pipeline() for name, module in DEFAULT.items()}
    return {
        "__default__": sum(default.values(), start=Pipeline([])),
        **default,
        "import_maps": import_maps.create_pipeline(),
        "segmentation_from_masks": segmentation.create_pipeline(labels="masks"),
        "self_training": self_training.create_pipeline(),
        "search": search.create_pipeline(),
        "inference": inference.create_pipeline(),
        "labels_export": labels_export.create_pipeline(),
        "submission": submission.create_pipeline(),
        "download": download.create_pipeline(),
    }


def with_given_maps(names: Iterable[str]) -> list[str]:
    """Name the pipelines of a run that takes over class maps (parameter `maps`).

    Args:
        names: Of the pipelines that were asked for.

    Returns:
        `import_maps` in the place of `cam`, and before pipelines that read its maps.
    """
    asked = [each for name in names for each in (DEFAULT if name == "__default__" else [name])]
    chosen = ["import_maps" if name == "cam" else name for name in asked]
    readers = (DEFAULT[name].create_pipeline() for name in chosen if name in DEFAULT)
    if "import_maps" in chosen or not any("cam.maps" in each.inputs() for each in readers):
        return chosen
    return ["import_maps", *chosen]
