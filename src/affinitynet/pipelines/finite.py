"""Scores that are NaN or infinite: an argmax would take them for background, or for any class."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from affinitynet.errors import UserError

if TYPE_CHECKING:
    import torch


def check_outputs(ids: Sequence[str], outputs: "torch.Tensor", model: Mapping[str, Any]) -> None:
    """Check that a network's outputs are finite.

    Args:
        ids: The photos of a batch.
        outputs: (N, …) the network's outputs, or what was computed from them.
        model: The network's checkpoint.

    Raises:
        UserError: Naming the network and the photos.
    """
    finite = outputs.isfinite().flatten(1).all(dim=1).tolist()
    if wrong := [
        image_id for image_id, is_finite in zip(ids, finite, strict=True) if not is_finite
    ]:
        raise UserError(
            f"The {model['config']['kind']} network's outputs are NaN or infinite for the photos "
            f"{', '.join(wrong)}. Its training has diverged, or its checkpoint is damaged: train "
            "it again, with lower learning rates"
        )


def check_maps(readers: Mapping[str, Callable[[], Any]], name: str) -> dict[str, Callable[[], Any]]:
    """Let readers of score maps check that these are finite.

    Args:
        readers: Image id to a function that reads `labels` and `maps`.
        name: Of the catalog's entry, for messages.
    """
    return {image_id: partial(_read, read, image_id, name) for image_id, read in readers.items()}


def _read(read: Callable[[], Any], image_id: str, name: str) -> Any:
    stored = read()
    if not np.isfinite(stored["maps"]).all():
        stage = name.partition(".")[0]
        raise UserError(
            f"{name} of the photo {image_id} are NaN or infinite. Make them again with: kedro run "
            f"--pipeline {stage}"
        )
    return stored
