"""export: the newest segmentation checkpoint -> safetensors, model card, MLflow model, ONNX."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.export.nodes import export_onnx, pack_checkpoint, write_card


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return pipeline(
        [
            node(pack_checkpoint, inputs="segmentation.model", outputs="model", name="pack"),
            node(
                write_card,
                inputs=[
                    "segmentation.model",
                    "index",
                    "segmentation.metrics",
                    "run",
                    "params:license",
                ],
                outputs="card",
                name="write_card",
            ),
            node(
                export_onnx,
                inputs=["segmentation.model", "index", "photos", "params:onnx"],
                outputs="onnx",
                name="export_onnx",
            ),
        ],
        namespace="export",
        inputs={"segmentation.model", "segmentation.metrics", "index", "photos", "run"},
    )
