"""The stages side by side: a table, a plot and a gallery."""

from affinitynet.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
