"""Batches of several shapes, as on a GPU: the same scores as in batches of one shape."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.networks.checkpoint import initialise
from affinitynet.networks.cuda import canvas_for
from affinitynet.networks.parameters import FeatureParameters, InferenceParameters
from affinitynet.pipelines.training import _train
from affinitynet.stages import predictor
from affinitynet.stages.batches import plan_batches, read_batches
from affinitynet.training.parameters import TrainingParameters

CPU = Execution(device="cpu", workers=1)
SIZES = {"a": (75, 91), "b": (64, 64), "c": (91, 75), "d": (66, 90), "e": (70, 80)}
INFERENCE = InferenceParameters(
    long_side=None,
    scales=((1.0, 16), (0.5, 16)),
    flip=True,
    cell=8,
    batch_size=4,
    bfloat16=False,
)


@pytest.fixture
def photos():
    noise = np.random.default_rng(0)
    arrays = {i: noise.integers(0, 256, (*size, 3), np.uint8) for i, size in SIZES.items()}
    return {i: partial(Image.fromarray, array) for i, array in arrays.items()}


def model(kind="cam", name="tf_efficientnet_lite0", **backbone):
    config = {
        "kind": kind,
        "classes": {"one": 1, "two": 2},
        "backbone": {"name": name, "weights": None, **backbone},
    }
    return initialise(config, seed=0)


def cam(network, batch):
    return network.cam(batch)


def by_photo(batches):
    return {
        image_id: own
        for batch, outputs in batches
        for image_id, own in zip(batch.ids, outputs, strict=True)
    }


def assert_canvases_change_nothing(monkeypatch, run):
    expected = by_photo(run())
    monkeypatch.setattr(predictor, "shares_canvases", lambda device: True)
    found = by_photo(run())

    assert sorted(found) == sorted(expected)
    for image_id, own in expected.items():
        tolerance = 1e-4 * float(own.abs().max())
        torch.testing.assert_close(found[image_id], own, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "test_resnet"])  # fits, and does not
def test_scores(monkeypatch, photos, name):
    def scores():
        network = predictor.Predictor(model(name=name), cam, INFERENCE, torch.device("cpu"))
        return network(network.read(SIZES, photos))

    assert_canvases_change_nothing(monkeypatch, scores)


@pytest.mark.parametrize(
    "make",
    [
        partial(model, "affinity", "resnet18", output_stride=8),  # its levels have one grid
        partial(model, "affinity", output_stride=16),  # they have not
        model,  # no grid at all
    ],
)
def test_outputs(monkeypatch, photos, make):
    network = make()
    stride = network.config["backbone"].get("output_stride", 16)
    sizes = SIZES | {"f": SIZES["d"]}
    photos["f"] = photos["d"]

    def outputs():
        options = FeatureParameters(
            long_side=None, batch_size=4, bfloat16=False, output_stride=stride
        )
        extractor = predictor.FeatureExtractor(network, options, torch.device("cpu"))
        return extractor(extractor.read(sizes, photos))

    assert_canvases_change_nothing(monkeypatch, outputs)


def test_batches_have_few_shapes(photos):
    plan = plan_batches(SIZES, long_side=None, batch_size=4, canvas_for=canvas_for)
    read = read_batches(plan, photos, long_side=None, canvas_for=canvas_for)
    shapes = {tuple(batch.ids): tuple(batch.images.shape) for batch in read}
    assert shapes == {("b",): (1, 3, 64, 64), ("c", "e", "d", "a"): (4, 3, 96, 96)}


def test_a_batch_that_is_not_full_has_as_many_photos_as_others(photos):
    some = {i: SIZES[i] for i in "acd"}
    plan = plan_batches(some, long_side=None, batch_size=4, canvas_for=canvas_for)
    (batch,) = read_batches(plan, photos, long_side=None, canvas_for=canvas_for, fill_to=4)
    assert sorted(batch.ids) == [*some]
    assert batch.images.shape == (4, 3, 96, 96)
    assert batch.sizes == [SIZES[i] for i in batch.ids]
    drawn = batch.images[[*batch.ids].index("d"), :, :66, :90].permute(1, 2, 0)
    assert np.array_equal(drawn, photos["d"]())


def extractor():
    options = FeatureParameters(long_side=None, batch_size=4, bfloat16=False, output_stride=16)
    return predictor.FeatureExtractor(model("affinity"), options, torch.device("cpu"))


def scorer():
    return predictor.Predictor(model(), cam, INFERENCE, torch.device("cpu"))


@pytest.mark.parametrize("make", [scorer, extractor])
def test_the_largest_canvas_decides_how_many_photos_fit(monkeypatch, make):
    seen, network = [], make()
    assert network.fit(SIZES) == 4  # on a CPU as many as are asked for
    monkeypatch.setattr(network, "device", torch.device("cuda"))
    monkeypatch.setattr(network, "canvas_for", canvas_for)
    monkeypatch.setattr(network, "_score", lambda batch, sizes: seen.append((batch, sizes)))

    def largest_batch(run, device, *, at_most):
        run(2)
        return at_most // 2

    monkeypatch.setattr(predictor, "largest_batch", largest_batch)
    monkeypatch.setattr(torch, "zeros", lambda *shape, dtype, device: shape)
    assert network.fit(SIZES | {"large": (500, 333)}) == 2
    assert seen == [((2, 3, 512, 384), [(512, 384)] * 2)]


@pytest.mark.parametrize(
    ("make", "parameter"), [(scorer, "inference.batch_size"), (extractor, "batch_size")]
)
def test_a_full_gpu_names_the_batch_size_to_lower(monkeypatch, photos, make, parameter):
    network = make()

    def exhausted(images, sizes):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(network, "_score", exhausted)
    with pytest.raises(UserError, match=f"lower {parameter} of this stage"):
        [*network(network.read(SIZES, photos))]


def test_a_full_gpu_names_the_parameter_to_lower():
    def exhausted(network, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    samples = [(torch.rand(3, 32, 32), torch.ones(2))] * 4
    training = TrainingParameters(epochs=1, batch_size=4)
    start = initialise(model(name="test_resnet").config, seed=0)
    with pytest.raises(UserError, match=r"lower training\.batch_size.*2\.00 GiB"):
        [*_train(lambda: samples, exhausted, training, 0, CPU, start)]
