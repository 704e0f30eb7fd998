"""export: the newest segmentation checkpoint -> safetensors, model card, MLflow model, ONNX."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.export.nodes import export_int8, export_onnx, pack_checkpoint, write_card
from affinitynet.pipelines.graph import graph, make_node


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return graph(
        "export",
        [
            make_node(pack_checkpoint, "segmentation.model", "model", name="pack"),
            make_node(
                write_card,
                "segmentation.model index segmentation.metrics run params:export.license",
                "card",
                name="write_card",
            ),
            make_node(
                export_onnx,
                "segmentation.model index photos params:export.onnx",
                "onnx",
                name="export_onnx",
            ),
            make_node(
                export_int8,
                "segmentation.model onnx index photos params:export.int8 params:seed",
                "onnx_int8 int8_metrics",
                name="export_int8",
            ),
        ],
    )
