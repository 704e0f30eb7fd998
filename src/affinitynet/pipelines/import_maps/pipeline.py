"""import_maps: the user's class maps -> CAMs as stage 1 would make them, scored."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.cam.pipeline import scoring_node
from affinitynet.pipelines.import_maps.nodes import check_maps, import_maps, keep_untrained
from affinitynet.pipelines.training import initialise_classifier


def create_pipeline() -> Pipeline:
    """Build the pipeline. It makes what later stages read of `cam`, in its place."""
    return pipeline(
        [
            node(
                check_maps,
                inputs=["index", "given_maps", "classes", "params:maps", "params:execution"],
                outputs="map_files",
                name="check_maps",
            ),
            node(
                import_maps,
                inputs=["index", "map_files", "given_maps", "classes", "params:execution"],
                outputs="maps",
                name="import_maps",
                confirms="maps",
                tags="per_image",
            ),
            scoring_node(),
            node(
                initialise_classifier,
                inputs=["params:cam", "classes", "params:seed"],
                outputs="initial",
                name="initialise",
            ),
            node(
                keep_untrained,
                inputs="initial",
                outputs=["model", "history"],
                name="keep_untrained",
            ),
        ],
        namespace="cam",
        inputs={"index", "classes", "masks", "given_maps"},
        parameters={"cam", "seed", "execution", "maps"},
    )
