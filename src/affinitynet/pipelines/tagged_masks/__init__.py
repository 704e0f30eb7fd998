"""Masks of all tagged photos, within their tags, and an estimate of how good each is."""

from affinitynet.pipelines.tagged_masks.pipeline import create_pipeline

__all__ = ["create_pipeline"]
