"""The layouts of a data set's files, by which its tags are read and messages name its parts."""

from collections.abc import Callable
from dataclasses import dataclass

from affinitynet.data.tag_file import read_tagged
from affinitynet.data.tagged import Tagged
from affinitynet.data.voc import read_voc


@dataclass(frozen=True)
class Layout:
    """How a data set's files name the tags, and how messages name the files.

    Attributes:
        read: Maps the photos, `data_set` and the files of all layouts to `Tagged`.
        folder: Parameter that names the data set's folder.
        masks_given: Parameters that name the masks.
        mask_names: Parameter that names the mask values.
    """

    read: Callable[..., Tagged]
    folder: str
    masks_given: str
    mask_names: str


LAYOUTS = {
    "voc": Layout(
        lambda photos, data_set, annotations, splits, *_: read_voc(
            photos, data_set, annotations, splits
        ),
        folder="voc_root",
        masks_given="voc_root=<path>,mask_folder=<name>",
        mask_names="data_set.mask_classes",
    ),
    "tagged": Layout(
        lambda photos, data_set, _, __, tags, header: read_tagged(photos, data_set, tags, header),
        folder="images",
        masks_given="masks=<path>",
        mask_names="mask_classes",
    ),
}
"""By `data_set.layout`."""
