"""Kedro's session for this project: which nodes of a pipeline a run executes.

Pipelines are fixed when they are registered. A run leaves out the nodes that its parameters do not
ask for, and a resumed run those that it has finished.
"""

from collections.abc import Iterable
from typing import Any

from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, SequentialRunner

from affinitynet.runs.versions import is_finished


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
    return Pipeline([node for node in pipeline.nodes if not is_finished(node, catalog)])


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
        """
        if (self.store.get("runtime_params") or {}).get("maps"):
            from affinitynet.pipeline_registry import with_given_maps  # imports all pipelines

            asked = pipeline_names or [pipeline_name or "__default__"]
            pipeline_name, pipeline_names = None, with_given_maps(asked)
        if runner is None or type(runner) is SequentialRunner:  # the default of `kedro run`
            runner = RemainingRunner()
        return super().run(pipeline_name, pipeline_names, tags, runner, *args, **options)
