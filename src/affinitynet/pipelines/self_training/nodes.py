"""Nodes of the `self_training` pipeline."""

from collections.abc import Iterator

import pandas as pd
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.label_maps import Classes, LabelMap
from affinitynet.data.files import Partitions
from affinitynet.execution import Execution
from affinitynet.pipelines.parameters import Revision, SelfTraining
from affinitynet.pipelines.per_image import checked, per_image, tagged_photos


def relabel(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    classes: Classes,
    revision: Revision,
    self_training: SelfTraining,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Label the training photos by the network within their tags; uncertain pixels are neutral."""
    from affinitynet.stages.refinement import Relabeller

    relabeller = Relabeller([*classes.values()], revision, self_training.certainty)
    ids, scores = tagged_photos(index).index, checked(maps, "tagged_masks.maps")
    yield from per_image(relabeller, ids, [photos, scores], execution, "Labelling once more")
