"""import_maps: the user's class maps -> CAMs as stage 1 would make them, scored."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.cam.pipeline import scoring_node
from affinitynet.pipelines.graph import graph, make_node, per_image_node
from affinitynet.pipelines.import_maps.nodes import check_maps, import_maps, keep_untrained
from affinitynet.pipelines.training import initialise_classifier


def create_pipeline() -> Pipeline:
    """Build the pipeline. It makes what later stages read of `cam`, in its place."""
    return graph(
        "cam",
        [
            make_node(
                check_maps,
                "index given_maps classes params:maps params:execution",
                "map_files",
                name="check_maps",
            ),
            per_image_node(
                import_maps,
                "index map_files given_maps classes params:execution",
                "maps",
                name="import_maps",
            ),
            scoring_node(),
            make_node(
                initialise_classifier,
                "params:cam classes params:seed",
                "initial",
                name="initialise",
            ),
            make_node(keep_untrained, "initial", "model history", name="keep_untrained"),
        ],
    )
