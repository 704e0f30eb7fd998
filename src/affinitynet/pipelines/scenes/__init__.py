"""Renders the embedded default data set, in VOC's layout."""

from affinitynet.pipelines.scenes.pipeline import create_pipeline

__all__ = ["create_pipeline"]
