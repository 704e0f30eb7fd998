"""In place of stage 1: class maps that other programs made, for stages 2 to 5."""

from affinitynet.pipelines.import_maps.pipeline import create_pipeline

__all__ = ["create_pipeline"]
