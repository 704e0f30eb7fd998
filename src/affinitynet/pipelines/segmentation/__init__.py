"""Stage 5: a segmentation network learns from the pseudo labels alone (paper, 3.4)."""

from affinitynet.pipelines.segmentation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
