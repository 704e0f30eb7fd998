"""Nodes of the `self_training` pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affinitynet.core.label_maps import Classes, LabelMap
from affinitynet.data.files import Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.execution import Execution
from affinitynet.pipelines.parameters import Revision, SelfTraining
from affinitynet.pipelines.per_image import tagged_photos
from affinitynet.pipelines.revision.nodes import with_chosen
from affinitynet.pipelines.search.settings import Setting
from affinitynet.pipelines.tagged_masks.nodes import label_by_witnesses


def relabel(
    index: pd.DataFrame,
    classes: Classes,
    revision: Revision,
    chosen: Setting,
    self_training: SelfTraining,
    execution: Execution,
    *inputs: Partitions[Any],
) -> Iterator[dict[str, LabelMap]]:
    """Label the training photos as `tagged_masks.label` does; uncertain pixels are neutral."""
    from affinitynet.stages.refinement import TaggedLabeller

    options = with_chosen(revision, chosen)
    labeller = TaggedLabeller([*classes.values()], options, self_training.certainty)
    yield from label_by_witnesses(labeller, tagged_photos(index).index, execution, *inputs)
