"""All parameters of `conf/` and of `--params`, with their types and ranges.

A parameter that is in none of these blocks is refused.
"""

from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen

from affinitynet.core.dense_crf import CRFParameters
from affinitynet.core.ranges import (
    FilePath,
    Flag,
    NonNegative,
    NonNegativeInt,
    OneOrMore,
    OpenProbability,
    Positive,
    PositiveInt,
    Probability,
    Seed,
    Share,
    Text,
    matching,
    parameters,
)
from affinitynet.data.parameters import DataSet, Names
from affinitynet.execution import Execution
from affinitynet.networks.parameters import (
    AffinityNetwork,
    CAMNetwork,
    FeatureParameters,
    InferenceParameters,
    SegmentationInference,
    SegmentationNetwork,
    Stride,
)
from affinitynet.stages.parameters import AutoAlphas, AutoRandomWalk, Radius, Refinement, WalkSpace
from affinitynet.training.parameters import Augmentation, TrainingParameters

Thresholds = OneOrMore[OpenProbability]

DatabasePath = Annotated[
    FilePath,
    matching(lambda path: not set("%?") & set(path), "a path without % and ?, as it becomes a URL"),
]


@parameters
class Scenes:
    """The rendered data set: images of each split, and pixels of their longer side."""

    train: PositiveInt
    val: PositiveInt
    long_side: Annotated[PositiveInt, Ge(16), Le(4096)]


@parameters
class CAM:
    """Stage 1.

    Attributes:
        prototype_rounds: Times that prototypes are computed from maps; 0: the classifier's weights
            draw the maps.
    """

    network: CAMNetwork
    training: TrainingParameters
    augmentation: Augmentation
    inference: InferenceParameters
    prototype_rounds: NonNegativeInt
    thresholds: Thresholds


@parameters
class AffinityLabels:
    """Stage 2.

    Attributes:
        alphas: Exponents of the background.
        features: How the backbone sees the photos, where an exponent is `auto`.
        compared: Photos that it then looks at.
        crf: Of the confident labels.
    """

    alphas: AutoAlphas
    features: FeatureParameters
    compared: PositiveInt | None
    crf: CRFParameters
    long_side: PositiveInt | None


@parameters
class AffinityTraining:
    """Stage 3."""

    network: AffinityNetwork
    training: TrainingParameters
    augmentation: Augmentation
    radius: Radius


@parameters
class ChooseCRF:
    """The choice of the dense CRF's values by corrected photos.

    Attributes:
        least: Corrected photos that it takes; None: the values stay.
        most: Photos that are looked at.
        folds: Parts of them that the choice is tested on.
        widths: Factors on both spatial widths.
        colours: Factors on the colour width.
        confidence: Probabilities that the unary gives to the walk's label.
    """

    least: PositiveInt | None
    most: PositiveInt
    folds: Annotated[PositiveInt, Ge(2)]
    widths: OneOrMore[Positive]
    colours: OneOrMore[Positive]
    confidence: OneOrMore[OpenProbability]


@parameters
class Revision(Refinement):
    """Stage 4."""

    random_walk: AutoRandomWalk
    choose_crf: ChooseCRF


@parameters
class TagCheck:
    """The search for wrong tags.

    Attributes:
        features: How the backbone sees the photos.
        folds: Parts that the photos are divided into.
    """

    features: FeatureParameters
    folds: Annotated[PositiveInt, Ge(2)]


MaskSource = Literal["auto", "network", "pseudo_labels"]


@parameters
class TaggedMasks:
    """The masks of all tagged photos.

    Attributes:
        source: Where the masks of photos that have pseudo labels come from.
    """

    source: MaskSource


@parameters
class SelfTraining:
    """The second round.

    Attributes:
        certainty: Pixels whose label has a lower probability after the CRF are neutral.
    """

    certainty: Probability


NO_SUPERVISION = matching(
    "pseudo_labels".__eq__,
    "left out; to train on the masks: kedro run --pipeline segmentation_from_masks",
)


@parameters
class Segmentation:
    """Stage 5."""

    network: SegmentationNetwork
    training: TrainingParameters
    augmentation: Augmentation
    inference: SegmentationInference
    supervision: Annotated[Literal["pseudo_labels", "masks"], NO_SUPERVISION] = "pseudo_labels"


@parameters
class ThresholdSpace:
    """Background thresholds to try."""

    thresholds: Thresholds


@parameters
class Range:
    """A range to search; with `log` values are drawn evenly from its logarithms."""

    low: NonNegative
    high: NonNegative
    log: Flag = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g}, above high, {self.high:g}; swap them")
        if self.log and self.low == 0:
            raise ValueError("low is 0, which has no logarithm; give a number above 0")


@parameters
class PositiveRange(Range):
    """A range above 0."""

    low: Positive
    high: Positive


@parameters
class ProbabilityRange(Range):
    """A range between 0 and 1."""

    low: OpenProbability
    high: OpenProbability


@parameters
class CRFSpace:
    """The parameters of a dense CRF to search, see `CRFParameters`."""

    iterations: OneOrMore[PositiveInt] | None = None
    sxy_gaussian: PositiveRange | OneOrMore[Positive] | None = None
    compat_gaussian: Range | OneOrMore[NonNegative] | None = None
    sxy_bilateral: PositiveRange | OneOrMore[Positive] | None = None
    srgb: PositiveRange | OneOrMore[Positive] | None = None
    compat_bilateral: Range | OneOrMore[NonNegative] | None = None
    reference_side: PositiveRange | OneOrMore[Positive] | None = None


@parameters
class RefinementSpace:
    """Search space of the refinement; None leaves a parameter as it is."""

    crf: CRFSpace | None = None
    confidence: ProbabilityRange | OneOrMore[OpenProbability] | None = None


@parameters
class SearchCAM:
    """The search of the background threshold."""

    space: ThresholdSpace


@parameters
class SearchWalk:
    """The search of the random walk."""

    space: WalkSpace


@parameters
class SearchRefine:
    """The search of the dense CRF.

    Attributes:
        trials: At most.
        patience: Trials without a gain after which the search ends; None: never.
    """

    trials: NonNegativeInt
    patience: PositiveInt | None
    space: RefinementSpace


@parameters
class Search:
    """The pipeline `search`.

    Attributes:
        images: Photos that are scored; None for all.
        nested_runs: Whether each trial is a run in MLflow.
    """

    images: PositiveInt | None
    nested_runs: Flag
    cam: SearchCAM
    walk: SearchWalk
    refine: SearchRefine


@parameters
class Count:
    """Photos of each split."""

    train: NonNegativeInt
    val: NonNegativeInt


@parameters
class Gallery:
    """The page that shows each stage's result on each photo.

    Attributes:
        sample: Photos drawn at random.
        worst: Further ones, those with the worst scores.
        doubtful: Further ones, those whose tags are the most likely to be wrong.
        walks: Training photos with a slider over the steps of the walk.
        steps: The t that it shows, besides the walk's own.
        long_side: Pixels of a photo's longer side.
    """

    sample: Count
    worst: Count
    doubtful: NonNegativeInt
    walks: NonNegativeInt
    steps: tuple[NonNegativeInt, ...]
    long_side: PositiveInt


@parameters
class Reporting:
    """The pipeline `reporting`."""

    gallery: Gallery


@parameters
class ONNX:
    """The export as ONNX."""

    output_stride: Stride | None
    check_side: PositiveInt
    tolerance: Positive


@parameters
class Export:
    """The pipeline `export`."""

    registered_model: Annotated[Text, MinLen(1)] | None
    license: Annotated[Text, MinLen(1)]
    max_pixels: PositiveInt
    onnx: ONNX | None
    int8: PositiveInt | None


@parameters
class Polygons:
    """How `labels_export` draws polygons.

    Attributes:
        min_share: Of a photo's pixels: smaller parts and holes are left out.
        tolerance: By which an outline may differ, as a share of the photo's longer side.
    """

    min_share: Share
    tolerance: Share


@parameters
class LabelsExport:
    """The pipeline `labels_export`."""

    layout: Literal["voc", "coco", "label_studio"]
    photos: Literal["link", "copy"]
    quality: Annotated[PositiveInt, Le(100)]
    segments: Literal["rle", "polygons"]
    polygons: Polygons


@parameters
class Submission:
    """The pipeline `submission`."""

    list: Annotated[Text, MinLen(1)]
    competition: Literal["comp5_test_cls", "comp6_test_cls"]


@parameters
class InferenceOverrides:
    """How the pipeline `inference` scores photos; None: as the checkpoint was evaluated."""

    long_side: PositiveInt | None = None
    scales: OneOrMore[tuple[Positive, Stride]] | None = None
    flip: Flag | None = None
    cell: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    bfloat16: Flag | Literal["auto"] | None = None
    crf: CRFParameters | None = None


@parameters
class Parameters:
    """All of them. Those with a default are read from `--params` only."""

    seed: Seed
    resume: Flag
    execution: Execution

    data: FilePath
    working_size: Annotated[PositiveInt, Ge(32)] | None
    scenes: Scenes | None
    voc_root: FilePath
    mask_folder: Annotated[Text, MinLen(1)]
    data_set: DataSet
    corrected_repeats: PositiveInt

    tag_check: TagCheck
    cam: CAM
    affinity_labels: AffinityLabels
    affinity_training: AffinityTraining
    revision: Revision
    segmentation: Segmentation
    tagged_masks: TaggedMasks
    self_training: SelfTraining
    search: Search
    reporting: Reporting
    export: Export
    labels_export: LabelsExport
    submission: Submission

    images: FilePath
    output: FilePath
    overlays: FilePath | None
    confidences: FilePath | None
    coco: FilePath | None
    inference: InferenceOverrides

    heads: Literal["released", "paper"] | None = None
    backbone: Annotated[Text, MinLen(1)] | None = None
    weights: FilePath | None = ""  # an empty text: not given
    tags: FilePath | None = None
    masks: FilePath | None = None
    maps: FilePath | None = None
    segments: FilePath | None = None
    corrected: FilePath | None = None
    best: Text | None = None
    classes: Names | None = None
    exported: FilePath | None = None
    mlflow_db: DatabasePath | None = None
    mlflow_artifacts: FilePath | None = None
    mlflow_tracking_uri: Text | None = None
