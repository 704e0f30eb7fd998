"""export: the newest segmentation checkpoint -> safetensors, model card, MLflow model, ONNX."""

from kedro.pipeline import Pipeline, node, pipeline

from affinitynet.pipelines.export.nodes import export_int8, export_onnx, pack_checkpoint, write_card


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
            node(
                export_int8,
                inputs=[
                    "segmentation.model",
                    "onnx",
                    "index",
                    "photos",
                    "params:int8",
                    "params:seed",
                ],
                outputs=["onnx_int8", "int8_metrics"],
                name="export_int8",
            ),
        ],
        namespace="export",
        inputs={"segmentation.model", "segmentation.metrics", "index", "photos", "run"},
        parameters={"seed"},
    )
