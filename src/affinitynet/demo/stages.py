"""The default pipeline for one photo: the stages' own objects, without the data catalog."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError
from PIL import Image
from scipy.special import expit

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.label_maps import Classes, LabelMap
from affinitynet.errors import UserError
from affinitynet.execution import pick_device
from affinitynet.pipelines.revision.nodes import with_chosen
from affinitynet.runs.record import RunRecord, read_records, unite
from affinitynet.runs.session import RunSession
from affinitynet.stages.cam import CamExtractor, TagClassifier
from affinitynet.stages.model import Model, Prediction
from affinitynet.stages.parameters import RandomWalk
from affinitynet.stages.refinement import Refiner
from affinitynet.stages.revision import RandomWalker

CLASSIFIER, PROTOTYPES = "cam.model", "cam.prototypes"
AFFINITY_NET, NETWORK = "affinity_training.model", "segmentation.model"
USED = ("cam.inference.", "revision.")
"""Parameters that the page computes with."""
SURE = 0.9
"""Probability from which the classifier is sure of a class."""


@dataclass(frozen=True)
class Steps:
    """Results of stages 1 and 4 for a photo.

    Attributes:
        names: The photo's classes, in the order of the maps; the K tagged ones.
        cams: (K, h, w) the CAMs, in [0, 1].
        walked: (K, h', w') the classes' scores after the random walk, in [0, 1].
        labels: (H, W) pseudo labels in mask values, at the working size.
    """

    names: list[str]
    cams: npt.NDArray[np.float32]
    walked: npt.NDArray[np.float32]
    labels: LabelMap


@dataclass(frozen=True)
class TrainedStages:
    """The newest trained networks and the parameters that they are run with.

    Attributes:
        classes: Class name to mask value.
        random_walk: `revision.random_walk`.
    """

    classes: Classes
    random_walk: RandomWalk
    _classifier: TagClassifier
    _extractor: CamExtractor
    _walker: RandomWalker
    _refiner: Refiner
    _model: Model

    @classmethod
    def of_project(cls, project: Path, *, env: str | None, params: dict[str, Any]) -> Self:
        """Read the networks of the newest run, and the parameters that it was made with.

        Args:
            env: Kedro's environment; None for the newest run's.
            params: Runtime parameters, nested: `{"data": …}`; they have precedence.

        Raises:
            UserError: If a stage has not been run yet, or the parameters are wrong.
        """
        bootstrap_project(project)
        data = str(params.get("data", project / "data"))
        records = read_records(f"{data}/08_reporting/runs")
        env, made_with = newest_parameters(records, env)
        params = unite(made_with, params)
        with RunSession.create(project, env=env, runtime_params=params) as session:
            context: Any = session.load_context()  # type: ignore[attr-defined]
            catalog = context.catalog
        command = f"kedro run --env {env}" if env else "kedro run"
        trained = {}
        for name in (CLASSIFIER, PROTOTYPES, AFFINITY_NET, NETWORK):
            try:
                trained[name] = catalog.load(name)
            except DatasetError as error:
                stage = name.partition(".")[0]
                raise UserError(
                    f"There is no trained network of {stage} yet. Make one with: {command}"
                ) from error

        def parameter(name: str) -> Any:
            return catalog.load(f"params:{name}")

        classes = catalog.load("classes")
        device = pick_device(parameter("execution"))
        inference = parameter("cam.inference")
        walk = parameter("revision.random_walk").resolve(catalog.load("revision.chosen"))
        refinement = with_chosen(parameter("revision"), catalog.load("revision.chosen_crf"))
        return cls(
            classes=classes,
            random_walk=walk,
            _classifier=TagClassifier(trained[CLASSIFIER], inference, device),
            _extractor=CamExtractor(trained[CLASSIFIER], inference, device, **trained[PROTOTYPES]),
            _walker=RandomWalker(trained[AFFINITY_NET], walk, device),
            _refiner=Refiner([*classes.values()], refinement),
            _model=Model(trained[NETWORK]),
        )

    def classify(self, photo: Image.Image) -> dict[str, float]:
        """Return the classifier's probability of each class, in [0, 1]."""
        return dict(zip(self.classes, expit(self._classifier(photo)).tolist(), strict=True))

    def activate(self, photo: Image.Image, tags: list[str]) -> ClassMaps:
        """Compute a photo's CAMs of the classes that it shows."""
        names = [*self.classes]
        return self._extractor(photo, np.array([names.index(tag) + 1 for tag in tags], np.uint8))

    def revise(self, photo: Image.Image, cams: ClassMaps, **walk: Any) -> Steps:
        """Revise a photo's CAMs: stage 4.

        Args:
            photo: Of any mode.
            cams: From `activate`.
            **walk: Values that differ from `random_walk`: `alpha`, `beta`, `steps`.
        """
        names = [[*self.classes][label - 1] for label in cams.labels]
        walked = self._walker.replace(**walk)(photo, cams)
        return Steps(
            names=names,
            cams=cams.maps.astype(np.float32),
            walked=walked.maps[1:].astype(np.float32),
            labels=self._refiner(photo, walked),
        )

    def segment(self, photo: Image.Image) -> Prediction:
        """Segment a photo with the network of stage 5, which needs no tags."""
        return self._model.predict(photo)


def newest_parameters(
    records: list[RunRecord], env: str | None
) -> tuple[str | None, dict[str, Any]]:
    """Find the parameters of the newest run that has revised CAMs.

    Args:
        records: Of all runs, newest first.
        env: Of the run; None for that of the newest run with a segmentation network.

    Returns:
        The environment, and those of the run's parameters that the page uses, nested.
    """
    if env is None:
        env = next((run.env for run in records if run.finished and NETWORK in run.outputs), None)
    for run in records:
        if run.finished and "revision.labels" in run.outputs and run.env == (env or "base"):
            used = {k: v for k, v in run.parameters.items() if k.startswith(USED)}
            return env, nest(used)
    return env, {}


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """Nest parameters: `{"cam.alpha": 4}` becomes `{"cam": {"alpha": 4}}`."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        level = nested
        for key in path:
            level = level.setdefault(key, {})
        level[last] = value
    return nested


def find_disagreement(likely: dict[str, float], prediction: Prediction) -> str:
    """Name the classes that the classifier is sure of and the mask lacks; empty if none.

    Args:
        likely: Class name to the classifier's probability.
    """
    shown = set(np.unique(prediction.mask).tolist())
    missing = [
        f"{name} ({share:.0%})"
        for name, share in likely.items()
        if share >= SURE and prediction.classes[name] not in shown
    ]
    if not missing:
        return ""
    lacks = "All of the mask is background" if shown == {0} else "The mask has none of it"
    return (
        f"The network disagrees with the classifier, which is sure of {', '.join(missing)}. "
        f"{lacks}: the photo is unlike those of training, or the network was trained too little."
    )
