"""A trained segmentation network outside the pipelines; see `affinitynet.stages.model`."""

from affinitynet.stages.model import Model, Prediction, check_pixels, load, open_photo

__all__ = ["Model", "Prediction", "check_pixels", "load", "open_photo"]
