"""Stage 4: a random walk with the learned affinities revises the CAMs (paper, 3.3)."""

from affinitynet.pipelines.revision.pipeline import create_pipeline

__all__ = ["create_pipeline"]
