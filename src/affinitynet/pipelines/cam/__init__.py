"""Stage 1: a classifier learns from tags, and its CAMs show where it looks (paper, 3.1)."""

from affinitynet.pipelines.cam.pipeline import create_pipeline

__all__ = ["create_pipeline"]
