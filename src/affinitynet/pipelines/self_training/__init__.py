"""A second round: the segmentation network labels its own training photos, and is trained again."""

from affinitynet.pipelines.self_training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
