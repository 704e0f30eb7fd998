"""ingestion: photos and files of tags -> one index, once they are sound."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph, make_node
from affinitynet.pipelines.ingestion.nodes import (
    build_index,
    check_corrections,
    check_data_set,
    inspect_photos,
)
from affinitynet.pipelines.ingestion.page import show_data


def create_pipeline() -> Pipeline:
    """Build the pipeline.

    Only the check reads the masks, and no output of it leads to a training node. It runs before
    the index is written, and so before everything else, since its name comes first (a test holds
    this order).
    """
    return graph(
        "ingestion",
        [
            make_node(
                inspect_photos,
                "photos params:data_set params:seed params:execution "
                "annotations splits tags masks_header",  # those of another layout are empty
                "inspected findings",
                name="inspect",
            ),
            make_node(
                check_data_set,
                "inspected findings masks params:data_set parameters params:execution",
                "report class_counts co_occurrence data_plot",
                name="check",
            ),
            make_node(build_index, "inspected findings", "index classes", name="index"),
            make_node(
                check_corrections,
                "index classes corrected params:execution",
                "corrections",
                name="check_corrections",
            ),
            make_node(
                show_data,
                "report inspected class_counts photos run params:execution",
                "page",
                name="show",
                confirms=True,
            ),
        ],
        outputs=["index", "classes"],
    )
