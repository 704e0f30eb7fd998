"""ingestion: photos, tags and split lists in VOC's layout -> one index, once they are sound."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.ingestion.nodes import build_index, check_data_set


def create_pipeline() -> Pipeline:
    """Build the pipeline.

    The check alone reads the masks, and nothing depends on it: no path leads from the masks to
    a training node. It runs before everything else, since it needs nothing but raw data and its
    name comes first (a test holds this order).
    """
    return pipeline(
        [
            node(
                check_data_set,
                inputs=[
                    "photos",
                    "masks",
                    "annotations",
                    "splits",
                    "params:data_set",
                    "params:voc_root",
                    "params:execution",
                ],
                outputs="report",
                name="check",
            ),
            node(
                build_index,
                inputs=["photos", "annotations", "splits", "params:data_set"],
                outputs=["index", "classes"],
                name="index",
            ),
        ],
        namespace="ingestion",
        inputs={"photos", "masks", "annotations", "splits"},
        outputs={"index", "classes"},
        parameters={"data_set", "voc_root", "execution"},
    )
