"""Before all: PASCAL VOC 2012 and SBD, downloaded when the user asks for it."""

from affinitynet.pipelines.download.pipeline import create_pipeline

__all__ = ["create_pipeline"]
