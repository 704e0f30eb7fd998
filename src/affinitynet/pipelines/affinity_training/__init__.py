"""Stage 3: AffinityNet learns which neighbouring pixels belong together (paper, 3.2.2)."""

from affinitynet.pipelines.affinity_training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
