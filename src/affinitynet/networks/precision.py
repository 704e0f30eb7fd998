"""bfloat16 where the processor computes with it, float32 elsewhere."""

import logging
import os
from functools import cache
from typing import Any, Literal

import torch

logger = logging.getLogger(__name__)

Precision = bool | Literal["auto", "bfloat16", "float32"]
"""What a parameter asks for; True is bfloat16, False float32."""

PRECISIONS = ("auto", "bfloat16", "float32")

WITHOUT_BFLOAT16 = ("AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA that have oneDNN's bfloat16 emulated by float32 instructions."""


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
    fast, reason = _onednn() if device.type == "cpu" else _cuda(device)
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


def _onednn() -> tuple[bool, str]:
    """Whether oneDNN computes in bfloat16 on this processor, and why.

    Its own answer is yes from AVX-512 on. Without AVX512_BF16 or AMX it converts to float32 and
    back, which takes longer than float32.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    instructions = _instructions()
    if not instructions:
        return False, "the processor has neither AMX nor AVX512_BF16"
    name = " and ".join(instructions)
    if not supports_bfloat16() or limit.upper() in WITHOUT_BFLOAT16:
        return False, f"the processor has {name}, but oneDNN " + (
            f"is held to {limit}" if limit else "does not use it"
        )
    return True, f"the processor has {name}"


def supports_bfloat16() -> bool:
    """Whether oneDNN takes bfloat16 at all: by its own answer, which ONEDNN_MAX_CPU_ISA limits."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)
    return torch.backends.mkldnn.is_available() and bool(supported())


def _instructions() -> list[str]:
    """Name the instructions for bfloat16 that this processor has."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if "avx512_bf16" not in capabilities:  # an older torch, or no x86
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        avx512, amx = (getattr(torch.cpu, check, bool)() for check in checks)
    else:
        avx512, amx = capabilities["avx512_bf16"], capabilities.get("amx_bf16", False)
    return [name for name, has in (("AMX", amx), ("AVX512_BF16", avx512)) if has]
