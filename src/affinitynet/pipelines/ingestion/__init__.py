"""Reads tagged photos of any layout into one index, and checks them before anything is trained."""

from affinitynet.pipelines.ingestion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
