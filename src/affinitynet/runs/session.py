"""Kedro's session for this project: which nodes of a pipeline a run executes.

Pipelines are fixed when they are registered. A run leaves out the nodes that its parameters do not
ask for, and a resumed run those that it has finished.
"""

import logging
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, SequentialRunner

from affinitynet.errors import UserError


def select_requested(pipeline: Pipeline, catalog: CatalogProtocol) -> Pipeline:
    """Select the nodes that the parameters ask for, see `pipeline_registry.CONDITIONS`."""
    from affinitynet.pipeline_registry import CONDITIONS  # imports all pipelines

    return Pipeline(
        [
            node
            for node in pipeline.nodes
            if node.name not in CONDITIONS or _holds(CONDITIONS[node.name], catalog)
        ]
    )


def _holds(condition: str, catalog: CatalogProtocol) -> bool:
    name, _, wanted = condition.partition("=")
    value = catalog.load(f"params:{name}")
    return value == wanted if wanted else value is not None


def select_unfinished(pipeline: Pipeline, catalog: CatalogProtocol) -> Pipeline:
    """Select the nodes whose outputs are not complete."""
    from affinitynet.runs.versions import is_finished  # imports datasets

    return Pipeline([node for node in pipeline.nodes if not is_finished(node, catalog)])


NODE_OPTIONS = {"node_names": "nodes", "from_nodes": "from-nodes", "to_nodes": "to-nodes"}
"""Arguments of a session that name nodes, and what they are called on the command line."""


def check_names(names: Iterable[str], options: Mapping[str, Any]) -> None:
    """Check the names of pipelines and nodes that are run.

    Args:
        options: Of `KedroSession.run`.

    Raises:
        UserError: With the nearest name, or all of them.
    """
    for name in names:
        _check_name("pipelines", name, pipelines)
    nodes = {node.name for name in names for node in pipelines[name].nodes}
    for argument, option in NODE_OPTIONS.items():
        for name in options.get(argument) or ():
            _check_name(option, name, nodes)


def _check_name(option: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
        raise UserError(f"--{option} {name}: there is none of this name; {hint}")


def _is_possible(record: logging.LogRecord) -> bool:
    """Leave out a tip of Kedro's runner, whose logger is this module's: `--async` is refused."""
    return "--async" not in record.getMessage()


logging.getLogger(__name__).addFilter(_is_possible)


class RemainingRunner(SequentialRunner):
    """Run the nodes that are requested and not finished, one after the other."""

    def run(
        self, pipeline: Pipeline, catalog: CatalogProtocol, *args: Any, **options: Any
    ) -> dict[str, Any]:
        """Run a pipeline; see Kedro's `AbstractRunner`.

        With `only_missing_outputs` nothing changes: the hooks have fixed the versions so that what
        is not missing counts as finished.
        """
        left = select_unfinished(select_requested(pipeline, catalog), catalog)
        options["only_missing_outputs"] = False
        return super().run(left, catalog, *args, **options)

    def _suggest_resume_scenario(self, *_: Any) -> None:
        """Leave out Kedro's advice, `--from-nodes`: a new run would repeat what `resume` keeps."""


class RunSession(KedroSession):
    """A session that runs pipelines with a `RemainingRunner`."""

    def run(
        self,
        pipeline_name: str | None = None,
        pipeline_names: list[str] | None = None,
        tags: Iterable[str] | None = None,
        runner: AbstractRunner | None = None,
        *args: Any,
        **options: Any,
    ) -> dict[str, Any]:
        """Run pipelines; see `KedroSession.run`.

        With the parameter `maps`, `import_maps` takes the place of `cam`.

        Raises:
            UserError: If there is no pipeline or node of a name.
        """
        asked = pipeline_names or [pipeline_name or "__default__"]
        if (self.store.get("runtime_params") or {}).get("maps"):
            from affinitynet.pipeline_registry import with_given_maps  # imports all pipelines

            asked = pipeline_names = with_given_maps(asked)
            pipeline_name = None
        check_names(asked, options)
        if runner is None or type(runner) is SequentialRunner:  # the default of `kedro run`
            runner = RemainingRunner()
        return super().run(pipeline_name, pipeline_names, tags, runner, *args, **options)
