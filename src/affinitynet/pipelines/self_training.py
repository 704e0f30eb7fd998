"""self_training: network within the tags -> new labels, scored -> segmentation network again.

A second round: the segmentation network labels its own training photos, and is trained again.
"""

from kedro.pipeline import Pipeline

from affinitynet.pipelines import segmentation
from affinitynet.pipelines.affinity_labels.pipeline import scoring_node
from affinitynet.pipelines.graph import graph, per_image_node
from affinitynet.pipelines.tagged_masks.nodes import relabel


def create_pipeline() -> Pipeline:
    """Build the pipeline.

    Its second part is stage 5 with other labels. The outputs are those of stage 5 too, so that
    all that follows takes the newer network.
    """
    relabelling = per_image_node(
        relabel,
        "index classes params:revision revision.chosen_crf params:self_training params:execution "
        "photos tagged_masks.maps revision.maps",
        "labels",
        name="relabel",
    )
    labels = graph("self_training", [relabelling, scoring_node()])
    return labels + segmentation.create_pipeline(labels="self_training.labels")
