"""After all: the pseudo labels as a data set that other tools open, in VOC's layout or COCO's."""

from affinitynet.pipelines.labels_export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
