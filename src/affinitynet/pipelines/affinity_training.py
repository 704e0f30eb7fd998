"""affinity_training: confident label maps -> AffinityNet.

Stage 3: AffinityNet learns which neighbouring pixels belong together (paper, 3.2.2).
"""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph
from affinitynet.pipelines.training import initialise_affinity_net, training_nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    stage = "affinity_training"
    nodes = training_nodes(
        initialise_affinity_net, stage, parents=["cam.model"], labels="affinity_labels.labels"
    )
    return graph(stage, nodes)
