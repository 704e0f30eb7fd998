"""scenes: rendered photos with exact masks, for a first run without any data."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.scenes.nodes import render_scenes

DATA_SET = ["photos", "masks", "annotations", "splits"]


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(
                render_scenes,
                inputs=["params:scenes", "params:seed", "params:execution"],
                outputs=DATA_SET,
                name="render",
                confirms=DATA_SET,
            )
        ],
        namespace="scenes",
        outputs={*DATA_SET},
        parameters={"scenes", "seed", "execution"},
    )
