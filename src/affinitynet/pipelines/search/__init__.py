"""Hyper-parameters of stage 4, searched on training photos that have masks."""

from affinitynet.pipelines.search.pipeline import create_pipeline

__all__ = ["create_pipeline"]
