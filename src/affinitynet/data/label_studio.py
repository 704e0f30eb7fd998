"""Label maps as Label Studio has them: brush masks, proposed as predictions."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from affinitynet.core.label_maps import Classes, LabelMap, list_present

CONTROL, OBJECT = "tag", "image"
"""Names of the labels and of the photo in `labelling_config`."""
WORD, LENGTHS = 8, (4, 8, 12, 16)
"""Bits of a value, and those that the length of a run may be written in."""


def labelling_config(classes: Classes) -> str:
    """Write the configuration of a Label Studio project that the tasks belong to."""
    from xml.sax.saxutils import quoteattr

    labels = "".join(f"\n    <Label value={quoteattr(name)}/>" for name in classes)
    return (
        f'<View>\n  <Image name="{OBJECT}" value="$image"/>\n'
        f'  <BrushLabels name="{CONTROL}" toName="{OBJECT}">{labels}\n  </BrushLabels>\n</View>\n'
    )


def make_task(
    file: str,
    mask: LabelMap,
    classes: Classes,
    *,
    model: str | None = None,
    score: float | None = None,
) -> dict[str, Any]:
    """Make a task of a photo, its mask a prediction of it, or an annotation.

    Args:
        file: The photo's path below the local storage of Label Studio.
        mask: (H, W) mask values.
        model: What predicts the mask, Label Studio's `model_version`; None for an annotation.
        score: How sure a prediction is, in [0, 1]; None if that is not known.
    """
    task: dict[str, Any] = {"data": {OBJECT: f"/data/local-files/?d={file}"}}
    results = [*_brushes(mask, classes)]
    if model is None:
        return task | {"annotations": [{"result": results}]}
    sure = {} if score is None else {"score": round(score, 4)}
    return task | {"predictions": [{"model_version": model, "result": results, **sure}]}


def _brushes(mask: LabelMap, classes: Classes) -> Iterator[dict[str, Any]]:
    height, width = mask.shape
    for name in list_present(mask, classes):
        yield {
            "id": f"{classes[name]}",
            "type": "brushlabels",
            "from_name": CONTROL,
            "to_name": OBJECT,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": encode_brush(mask == classes[name]),
                "brushlabels": [name],
            },
        }


def encode_brush(shown: npt.NDArray[np.bool_]) -> list[int]:
    """Encode a brush (H, W): runs of equal values, four values a pixel, as a stream of bits.

    See `affinitynet.data.annotation_tools.decode_brush`.
    """
    flat = np.concatenate([[False], shown.ravel(), [not shown.ravel()[-1]]])
    ends = np.flatnonzero(np.diff(flat.astype(np.int8)))
    bits = [f"{4 * shown.size:032b}{WORD - 1:05b}", *(f"{each - 1:04b}" for each in LENGTHS)]
    for number, length in enumerate(np.diff(ends, prepend=0).tolist()):
        bits += _runs(4 * length, 255 * (number % 2))
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]


def _runs(length: int, value: int) -> Iterator[str]:
    """The bits of a run; one that is too long for the longest length is several."""
    most = 1 << LENGTHS[-1]
    while length > 0:
        part = min(length, most)
        size = next(i for i, bits in enumerate(LENGTHS) if part <= 1 << bits)
        yield f"1{size:02b}{part - 1:0{LENGTHS[size]}b}{value:0{WORD}b}"
        length -= part
