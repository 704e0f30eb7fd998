"""submission: a list of photos and the newest segmentation network -> a zip for VOC's server."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.submission.nodes import list_images, pack, segment_images


def create_pipeline() -> Pipeline:
    """Build the pipeline; it runs only when it is named."""
    return pipeline(
        [
            node(
                list_images,
                inputs=["splits", "photos", "params:submission", "params:execution"],
                outputs="images",
                name="list",
            ),
            node(
                segment_images,
                inputs=[
                    "images",
                    "segmentation.model",
                    "photos",
                    "classes",
                    "params:segmentation",
                    "params:execution",
                ],
                outputs="predictions",
                name="segment",
                confirms="predictions",
                tags="per_image",
            ),
            node(pack, inputs=["predictions", "params:submission"], outputs="archive", name="pack"),
        ],
        namespace="submission",
        inputs={"splits", "photos", "classes", "segmentation.model"},
        parameters={"submission", "execution", "segmentation"},
    )
