"""Class activation maps: normalisation and background (paper, section 3.1)."""

import torch
from torch import Tensor


def normalise(cams: Tensor) -> Tensor:
    """Scale each class's map to a maximum of one: M_c / max M_c (eq. 1).

    Args:
        cams: Activations (K, H, W), 0 or more.

    Returns:
        CAMs (K, H, W) in [0, 1]; a map without any activation stays zero.
    """
    peaks = cams.amax(dim=(-2, -1), keepdim=True)
    return torch.where(peaks > 0, cams / peaks, 0)


def background(cams: Tensor, alpha: float) -> Tensor:
    """Score the background: M_bg = (1 - max_c M_c)^alpha (eq. 2).

    Args:
        cams: CAMs (…, K, H, W) in [0, 1].
        alpha: Exponent; the higher, the weaker the background.

    Returns:
        Background scores (…, H, W) in [0, 1]; ones if there are no classes.
    """
    if not cams.shape[-3]:
        return cams.new_ones(*cams.shape[:-3], *cams.shape[-2:])
    return (1 - cams.amax(dim=-3)).clamp_min(0) ** alpha


def with_background(cams: Tensor, alpha: float) -> Tensor:
    """Put the background's scores before the classes': (…, K, H, W) -> (…, K + 1, H, W)."""
    return torch.cat([background(cams, alpha).unsqueeze(-3), cams], dim=-3)
