"""ingestion: photos and files of tags -> one index, once they are sound."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.ingestion.nodes import (
    build_index,
    check_corrections,
    check_data_set,
    inspect_photos,
)
from affinitynet.pipelines.ingestion.page import show_data

SOURCES = ["annotations", "splits", "tags", "masks_header"]
"""Catalog entries of the files of tags; those of another layout are empty."""


def create_pipeline() -> Pipeline:
    """Build the pipeline.

    Only the check reads the masks, and no output of it leads to a training node. It runs before
    the index is written, and so before everything else, since its name comes first (a test holds
    this order).
    """
    return pipeline(
        [
            node(
                inspect_photos,
                inputs=[
                    "photos",
                    "params:data_set",
                    "params:seed",
                    "params:execution",
                    *SOURCES,
                ],
                outputs=["inspected", "findings"],
                name="inspect",
            ),
            node(
                check_data_set,
                inputs=[
                    "inspected",
                    "findings",
                    "masks",
                    "params:data_set",
                    "parameters",
                    "params:execution",
                ],
                outputs=["report", "class_counts", "co_occurrence", "data_plot"],
                name="check",
            ),
            node(
                build_index,
                inputs=["inspected", "findings"],
                outputs=["index", "classes"],
                name="index",
            ),
            node(
                check_corrections,
                inputs=["index", "classes", "corrected", "params:execution"],
                outputs="corrections",
                name="check_corrections",
            ),
            node(
                show_data,
                inputs=[
                    "report",
                    "inspected",
                    "class_counts",
                    "photos",
                    "run",
                    "params:execution",
                ],
                outputs="page",
                name="show",
                confirms="page",
            ),
        ],
        namespace="ingestion",
        inputs={"photos", "masks", "corrected", "run", *SOURCES},
        outputs={"index", "classes"},
        parameters={"data_set", "seed", "execution"},
    )
