"""bfloat16 where the processor computes with it, float32 elsewhere."""

import logging
from functools import cache
from typing import Literal

import torch

from affinitynet.networks.cpu import is_bfloat16_fast

logger = logging.getLogger(__name__)

Precision = bool | Literal["auto", "bfloat16", "float32"]
"""Value of a parameter; True is bfloat16, False float32."""

PRECISIONS = ("auto", "bfloat16", "float32")


@cache
def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Decide whether a network is computed in bfloat16 on a device, and log it once.

    Args:
        precision: `auto` takes bfloat16 where it is the faster one.
        device: The network's.

    Raises:
        ValueError: If it is no precision.
    """
    if not isinstance(precision, bool) and precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}; give {', '.join(PRECISIONS)}, true or false")
    if precision in (False, "float32"):
        return False
    if device.type not in ("cpu", "cuda"):
        return precision != "auto"
    fast, reason = is_bfloat16_fast() if device.type == "cpu" else _cuda(device)
    if precision == "auto":
        logger.info("Precision auto: %s, as %s.", "bfloat16" if fast else "float32", reason)
        return fast
    if not fast:
        logger.warning("bfloat16 is slower than float32 here, as %s; auto avoids it.", reason)
    return True


def _cuda(device: torch.device) -> tuple[bool, str]:
    """Whether a GPU computes in bfloat16, and why."""
    name = torch.cuda.get_device_name(device)
    has = torch.cuda.is_bf16_supported(including_emulation=False)
    return has, f"the GPU ({name}) {'has' if has else 'lacks'} it"
