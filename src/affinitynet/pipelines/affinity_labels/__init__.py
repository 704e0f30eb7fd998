"""Stage 2: confident objects, confident background and neutral pixels (paper, 3.2.1)."""

from affinitynet.pipelines.affinity_labels.pipeline import create_pipeline

__all__ = ["create_pipeline"]
