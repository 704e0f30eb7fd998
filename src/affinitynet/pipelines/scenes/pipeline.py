"""scenes: rendered photos with exact masks, for a first run without any data."""

from kedro.pipeline import Pipeline

from affinitynet.pipelines.graph import graph, make_node
from affinitynet.pipelines.scenes.nodes import render_scenes


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    data_set = "photos masks annotations splits"
    given = "params:scenes params:seed params:execution"
    render = make_node(render_scenes, given, data_set, name="render", confirms=True)
    return graph("scenes", [render], outputs=data_set.split())
