"""Tags that may be wrong, and classes that cannot be distinguished; before anything is trained."""

from affinitynet.pipelines.tag_check.pipeline import create_pipeline

__all__ = ["create_pipeline"]
