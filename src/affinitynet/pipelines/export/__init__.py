"""After all: the trained segmentation network in forms that others can use."""

from affinitynet.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
