"""MXNet's .params files: all layouts, and files that are none."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from affinitynet.networks.backbones import pretrained
from affinitynet.networks.mxnet import LIST, V1, V2, read_params
from affinitynet.networks.resnet38 import ResNet38, from_mxnet

BY_MXNET = Path(__file__).parent / "mxnet_1.9.1.params"
"""Three small arrays, written by MXNet 1.9.1 itself."""


def write_params(path, arrays, layout=None):
    """Write float32 arrays as MXNet does; without a layout as in 2016."""
    parts = [struct.pack("<QQQ", LIST, 0, len(arrays))]
    for array in arrays.values():
        array = np.asarray(array, np.float32)
        header = {None: b"", V1: struct.pack("<I", V1), V2: struct.pack("<Ii", V2, 0)}[layout]
        kind = "q" if layout else "I"
        shape = struct.pack(f"<I{array.ndim}{kind}", array.ndim, *array.shape)
        parts += [header, shape, struct.pack("<iii", 1, 0, 0), array.tobytes()]
    parts.append(struct.pack("<Q", len(arrays)))
    parts += [struct.pack("<Q", len(name)) + name.encode() for name in arrays]
    path.write_bytes(b"".join(parts))
    return path


def test_what_mxnet_wrote_is_read():
    arrays = read_params(BY_MXNET)

    assert torch.equal(arrays["arg:conv1a_weight"], torch.arange(6.0).view(2, 3))
    assert torch.equal(arrays["aux:bn7_moving_var"], torch.tensor([0.5, 1.5]).half())
    assert torch.equal(arrays["arg:label"], torch.arange(4))


@pytest.mark.parametrize("layout", [None, V1, V2])
def test_every_layout_is_read(layout, tmp_path):
    arrays = {"arg:a": np.arange(12.0).reshape(2, 1, 3, 2), "aux:b": np.array([3.0])}

    read = read_params(write_params(tmp_path / "net.params", arrays, layout))

    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize("layout", [None, V1, V2])
def test_a_file_that_is_cut_off_anywhere_is_refused(layout, tmp_path):
    path = write_params(tmp_path / "net.params", {"arg:a": np.ones((2, 3))}, layout)
    whole = path.read_bytes()

    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"net\.params"):
            read_params(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(100), b"\x80\x02" * 50])
def test_foreign_files_are_refused(content, tmp_path):
    (tmp_path / "net.params").write_bytes(content)

    with pytest.raises(ValueError, match=r"is no MXNet \.params file"):
        read_params(tmp_path / "net.params")


def mxnet_name(entry):
    """The published file's name of an entry of `ResNet38`, written out from its scheme."""
    *layer, kind = entry.split(".")
    role = {
        "running_mean": "aux:{}_moving_mean",
        "running_var": "aux:{}_moving_var",
        "bias": "arg:{}_beta",
    }.get(kind, "arg:{}_gamma" if "bn" in layer[-1] else "arg:{}_weight")
    if len(layer) == 1:
        return role.format(layer[0])
    block, convolution = layer
    level, _, repeat = block[1:].partition("_")
    prefix = "res" if convolution.startswith("conv") else "bn"
    unit = f"{prefix}{level}{'b' + repeat if repeat else 'a'}"
    return role.format(f"{unit}_{convolution.partition('_')[2]}")


def test_the_published_imagenet_weights_fit_the_network(tmp_path):
    with torch.device("meta"):
        state = ResNet38().state_dict()
    needed = [entry for entry in state if not entry.endswith("num_batches_tracked")]
    published = {mxnet_name(entry): torch.tensor(i) for i, entry in enumerate(needed)}
    published |= {"arg:linear1000_weight": torch.ones(1), "arg:linear1000_bias": torch.ones(1)}
    assert "arg:res4b5_branch2a_weight" in published
    assert "aux:bn6a_branch2b2_moving_var" in published
    assert "arg:res5a_branch1_weight" in published

    assert from_mxnet(published) == {entry: torch.tensor(i) for i, entry in enumerate(needed)}


def test_a_file_of_another_network_is_refused(tmp_path):
    write_params(tmp_path / "vgg.params", {"arg:fc6_weight": np.ones((2, 3))})
    with pytest.raises(ValueError, match="'arg:fc6_weight' is no array of ResNet-38"):
        pretrained("resnet38", tmp_path / "vgg.params")

    write_params(tmp_path / "part.params", {"arg:conv1a_weight": np.ones((64, 3, 3, 3))})
    with pytest.raises(ValueError, match=r"part\.params: no entry 'b2"):
        pretrained("resnet38", tmp_path / "part.params")
