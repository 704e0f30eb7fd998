"""Masks for any folder of photos, with a trained segmentation network."""

from affinitynet.pipelines.inference.pipeline import create_pipeline

__all__ = ["create_pipeline"]
