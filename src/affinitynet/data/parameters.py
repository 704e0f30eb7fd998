"""The parameters of a data set, and their ranges."""

from typing import Annotated, Literal

from annotated_types import MinLen

from affinitynet.core.ranges import FilePath, Flag, OneOrMore, OpenProbability, Text, parameters

Names = OneOrMore[Annotated[Text, MinLen(1)]] | Annotated[Text, MinLen(1)]
"""Names of classes: a list, or a text such as `cat;dog`."""


@parameters
class DataSet:
    """How files name the tags of photos; see `conf/base/parameters.yml` and `conf/tagged`."""

    layout: Literal["voc", "tagged"]
    strict: Flag
    classes: Names | None
    mask_classes: Names | None
    masks: FilePath | None = None
    splits: dict[Literal["train", "val"], Text] | None = None
    tags: FilePath | None = None
    separator: Annotated[Text, MinLen(1)] = ",;|"
    val_share: OpenProbability = 0.2
