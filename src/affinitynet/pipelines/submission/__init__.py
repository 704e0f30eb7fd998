"""After all: masks of VOC's test images, packed as its evaluation server takes them."""

from affinitynet.pipelines.submission.pipeline import create_pipeline

__all__ = ["create_pipeline"]
