"""The graphs of the pipelines, written as tables of nodes."""

from collections.abc import Callable, Iterable
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node


def make_node(
    function: Callable[..., Any],
    inputs: str,
    outputs: str,
    *,
    name: str,
    tags: str | None = None,
    confirms: bool = False,
) -> Node:
    """Make a node.

    Args:
        inputs: Names of catalog entries and parameters, in the order of the function's arguments,
            separated by spaces.
        outputs: Of catalog entries, in the same form; of several, the function returns a tuple.
        confirms: Whether each output is an entry of many files, complete when the node has ended.
    """
    made = outputs.split()
    return Node(
        function,
        inputs.split(),
        made if len(made) > 1 else outputs or None,
        name=name,
        tags=tags,
        confirms=made if confirms else None,
    )


def per_image_node(function: Callable[..., Any], inputs: str, output: str, *, name: str) -> Node:
    """Make a node that goes through the images of its first input, and resumes among them."""
    return make_node(function, inputs, output, name=name, tags="per_image", confirms=True)


def graph(namespace: str, nodes: Iterable[Node], outputs: Iterable[str] = ()) -> Pipeline:
    """Make a pipeline, whose namespace the names of its nodes and of what they make get.

    Args:
        outputs: What they make that does not get it.
    """
    whole = Pipeline(nodes)
    parameters = {name for name in whole.inputs() if name.startswith("params:")}
    return Pipeline(
        whole,
        namespace=namespace,
        inputs=whole.inputs() - parameters - {"parameters"},
        outputs={*outputs},
        parameters=parameters,
    )
