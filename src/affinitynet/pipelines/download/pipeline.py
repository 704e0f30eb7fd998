"""download: PASCAL VOC 2012 and SBD from their servers -> VOC's layout with train_aug."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.download.nodes import convert_masks, download_voc, name_images


def create_pipeline() -> Pipeline:
    """Build the pipeline; it runs only when it is named."""
    return pipeline(
        [
            node(download_voc, inputs="params:voc_root", outputs="report", name="fetch"),
            node(
                convert_masks,
                inputs=["report", "sbd", "voc_masks", "lists", "params:execution"],
                outputs="masks",
                name="convert",
            ),
            node(name_images, inputs=["report", "sbd", "lists"], outputs="train_aug", name="list"),
        ],
        namespace="download",
        parameters={"voc_root", "execution"},
    )
