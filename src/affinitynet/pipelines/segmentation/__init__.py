"""Stage 5: a segmentation network learns only from the pseudo labels (paper, 3.4)."""

from affinitynet.pipelines.segmentation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
