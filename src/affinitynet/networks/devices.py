"""The device that a network runs on, by its name."""

import torch


def find_device(name: str) -> torch.device:
    """Return the torch device of a name; the process stays as it is.

    Args:
        name: `cpu`, `cuda`, `cuda:1`, …; `auto` takes CUDA where there is one.

    Raises:
        ValueError: If there is no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        device = torch.device(("cuda" if count else "cpu") if name == "auto" else name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device {name!r}: there is none of this name; give auto, cpu, cuda or cuda:<number>"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"{count} CUDA device{'s' * (count > 1)}" if count else "no CUDA device"
        raise ValueError(
            f"device {name!r}: torch sees {found} on this machine; give cpu, or auto, which takes "
            "CUDA where there is one"
        )
    return device
