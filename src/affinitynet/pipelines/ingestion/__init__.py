"""Reads a data set in VOC's layout into one index, and checks it before anything is trained."""

from affinitynet.pipelines.ingestion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
