"""download: PASCAL VOC 2012 and SBD from their servers -> VOC's layout with train_aug."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.download.nodes import convert_masks, download_voc, name_images
from affinitynet.pipelines.graph import graph, make_node


def create_pipeline() -> Pipeline:
    """Build the pipeline; it runs only when it is named."""
    return graph(
        "download",
        [
            make_node(download_voc, "params:voc_root", "report", name="fetch"),
            make_node(
                convert_masks,
                "report download.sbd download.voc_masks download.lists params:execution",
                "masks",
                name="convert",
            ),
            make_node(name_images, "report download.sbd download.lists", "train_aug", name="list"),
        ],
    )
