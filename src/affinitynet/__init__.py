"""Weakly supervised semantic segmentation with AffinityNet, as a Kedro project.

Photos with image-level tags go in; per-pixel masks and a trained segmentation network come
out. The method is that of Ahn & Kwak, *Learning Pixel-level Semantic Affinity with Image-level
Supervision for Weakly Supervised Semantic Segmentation*, CVPR 2018.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affinitynet.stages.model import Model, Prediction, load

__all__ = ["Model", "Prediction", "__version__", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `affinitynet.stages.model`, and torch with it, only when a model is asked for."""
    if name in __all__:
        from affinitynet.stages import model

        return getattr(model, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
