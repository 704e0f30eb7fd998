"""Dense CRF (Krähenbühl & Koltun, 2011) on a photo and label scores."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from affinitynet.core.ranges import NonNegative, Positive, PositiveInt, parameters

Floats = npt.NDArray[np.float32]
MAX_APART = 80.0
"""Sets whose energies can lie further apart are refined one by one: exp(-88) is 0 in float32."""


@parameters
class CRFParameters:
    """Widths and weights of the two pairwise terms.

    Attributes:
        iterations: Mean-field iterations.
        sxy_gaussian: Spatial width of the smoothness term, in pixels of a photo whose longer
            side is `reference_side`; the widths follow the photo's size.
        compat_gaussian: Weight of the smoothness term.
        sxy_bilateral: Spatial width of the appearance term, in the same pixels.
        srgb: Colour width of the appearance term, in 0 … 255.
        compat_bilateral: Weight of the appearance term.
        reference_side: The longer side, in pixels, that the spatial widths are meant for.
    """

    iterations: PositiveInt = 10
    sxy_gaussian: Positive = 3.0
    compat_gaussian: NonNegative = 3.0
    sxy_bilateral: Positive = 80.0
    srgb: Positive = 13.0
    compat_bilateral: NonNegative = 10.0
    reference_side: Positive = 500.0


def refine(
    image: npt.NDArray[np.uint8], unary: Floats, parameters: CRFParameters | None = None
) -> Floats:
    """Refine label scores by the photo's colours and edges; see `refine_many`."""
    return refine_many(image, [unary], parameters)[0]


def refine_many(
    image: npt.NDArray[np.uint8],
    unaries: Sequence[Floats],
    parameters: CRFParameters | None = None,
) -> list[Floats]:
    """Refine several sets of scores on one photo at little more than the cost of one.

    The sets go through the photo's lattices together, as the labels of one CRF: filtering takes
    each label separately, and it is the softmax over a set's own labels that makes it a CRF of its
    own. The result of a set does not depend on the others, except for rounding.

    Args:
        image: (H, W, 3) uint8, RGB.
        unaries: Each (K, H, W) energies -log p, with the same K.
        parameters: Of the CRF; the defaults are those of the authors' release.

    Returns:
        Probabilities (K, H, W) for each unary.

    Raises:
        ValueError: If shapes or types do not fit.
    """
    from pydensecrf.densecrf import DenseCRF2D

    parameters = parameters or CRFParameters()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}.")
    height, width = image.shape[:2]
    labels = len(unaries[0])
    for unary in unaries:
        if unary.shape != (labels, height, width):
            raise ValueError(f"unary must be {(labels, height, width)}, not {unary.shape}.")
    if labels == 1:
        return [np.ones_like(unary, dtype=np.float32) for unary in unaries]
    low, high = min(map(np.min, unaries)), max(map(np.max, unaries))
    apart = high - low + parameters.compat_gaussian + parameters.compat_bilateral
    if len(unaries) > 1 and apart > MAX_APART:
        return [refine(image, unary, parameters) for unary in unaries]
    scale = max(height, width) / parameters.reference_side
    crf = DenseCRF2D(width, height, len(unaries) * labels)
    energies = np.concatenate([unary.reshape(labels, -1) for unary in unaries])
    crf.setUnaryEnergy(np.ascontiguousarray(energies, np.float32))
    crf.addPairwiseGaussian(sxy=parameters.sxy_gaussian * scale, compat=parameters.compat_gaussian)
    crf.addPairwiseBilateral(
        sxy=parameters.sxy_bilateral * scale,
        srgb=parameters.srgb,
        rgbim=np.array(image, order="C"),  # pydensecrf wants a writable copy
        compat=parameters.compat_bilateral,
    )
    state = crf.startInference()
    marginals = np.asarray(state[0]).T.reshape(-1, len(unaries), labels)  # a view, changed in place
    _normalise(marginals)
    for _ in range(parameters.iterations):
        crf.stepInference(*state)
        _normalise(marginals)
    return [
        np.ascontiguousarray(marginals[:, i].T).reshape(labels, height, width)
        for i in range(len(unaries))
    ]


def _normalise(marginals: Floats) -> None:
    """Let the labels of each set sum to one, in place: (pixels, sets, labels)."""
    total = marginals[..., 0].copy()
    for label in range(1, marginals.shape[-1]):  # faster than a sum over so short an axis
        total += marginals[..., label]
    marginals /= total[..., None]


def unary_from_probabilities(probabilities: npt.ArrayLike, *, floor: float = 1e-5) -> Floats:
    """Turn scores into energies -log p.

    Args:
        probabilities: (K, H, W), 0 or more; they need not sum to one.
        floor: Smallest probability, so that energies stay finite.
    """
    return -np.log(np.clip(np.asarray(probabilities, np.float32), floor, 1.0))


def unary_from_labels(
    labels: npt.ArrayLike, num_labels: int, *, confidence: float = 0.7, ignore_index: int = 255
) -> Floats:
    """Turn a label map into energies that trust it to a degree.

    Args:
        labels: (H, W) in 0 … num_labels - 1, or `ignore_index`, which prefers no label.
        num_labels: K.
        confidence: Probability of a pixel's label, in (0, 1); the others share the rest.
        ignore_index: Label of undecided pixels.

    Returns:
        (K, H, W) energies.

    Raises:
        ValueError: If the confidence is not in (0, 1) or a label is out of range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1.")
    labels = np.asarray(labels)
    wrong = labels[(labels != ignore_index) & ((labels < 0) | (labels >= num_labels))]
    if wrong.size:
        raise ValueError(f"labels have {wrong[0]}, which is not in 0 … {num_labels - 1}.")
    own = labels[None] == np.arange(num_labels)[:, None, None]
    rest = (1 - confidence) / max(num_labels - 1, 1)
    probabilities = np.where(own, confidence, rest)
    probabilities[:, labels == ignore_index] = 1 / num_labels
    return -np.log(probabilities).astype(np.float32)
