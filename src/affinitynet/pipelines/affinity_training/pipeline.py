"""affinity_training: confident label maps -> AffinityNet."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.training import (
    initialise_affinity_net,
    select_final_checkpoint,
    train_on_pairs,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(
                initialise_affinity_net,
                inputs=["params:network", "classes", "params:seed", "cam.model"],
                outputs="initial",
                name="initialise",
            ),
            node(
                train_on_pairs,
                inputs={
                    "initial": "initial",
                    "index": "index",
                    "photos": "photos",
                    "labels": "affinity_labels.labels",
                    "corrected": "corrected",
                    "repeats": "params:corrected_repeats",
                    "classes": "classes",
                    "training": "params:training",
                    "augmentation": "params:augmentation",
                    "seed": "params:seed",
                    "execution": "params:execution",
                    "radius": "params:radius",
                },
                outputs="checkpoints",
                name="train",
                confirms="checkpoints",
                tags="training",
            ),
            node(
                select_final_checkpoint,
                inputs="checkpoints",
                outputs=["model", "history"],
                name="select_final_checkpoint",
            ),
        ],
        namespace="affinity_training",
        inputs={"index", "photos", "classes", "corrected", "cam.model", "affinity_labels.labels"},
        parameters={"seed", "execution", "corrected_repeats"},
    )
