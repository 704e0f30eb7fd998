"""A transformer with random weights through all five stages."""

import pytest

from affinitynet.errors import UserError

VIT = {"backbone": "test_vit", "weights": None}
ONNX = {"output_stride": None, "check_side": 64, "tolerance": 1e-4}


@pytest.mark.long
def test_a_transformer_goes_the_whole_road(project):
    project.run(parameters=VIT)
    record = project.record()
    assert record["finished"]
    assert "export.onnx" not in record["outputs"]
    assert all(project.metrics().values())
    backbone = project.catalog().load("segmentation.model").config["backbone"]
    assert backbone["name"] == "test_vit"
    assert backbone["mean"] == [0.5, 0.5, 0.5]


def test_that_it_is_not_written_as_onnx_is_said_before_anything_is_done(project):
    with pytest.raises(UserError, match=r"test_vit is a transformer, .* export.onnx=null"):
        project.run(parameters=VIT | {f"export.onnx.{name}": ONNX[name] for name in ONNX})
    assert not project.records
