"""affinity_training: confident label maps -> AffinityNet."""

from kedro.pipeline import Pipeline, pipeline

from affinitynet.pipelines.training import initialise_affinity_net, training_nodes


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        training_nodes(
            initialise_affinity_net,
            "affinity_training",
            parents=["cam.model"],
            labels="affinity_labels.labels",
        ),
        namespace="affinity_training",
        inputs={"index", "photos", "classes", "corrected", "cam.model", "affinity_labels.labels"},
        parameters={"affinity_training", "seed", "execution", "corrected_repeats"},
    )
