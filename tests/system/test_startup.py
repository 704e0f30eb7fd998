"""What a command imports: seconds at each start are paid for modules that nothing uses."""

import subprocess
import sys

from tests.conftest import PROJECT

HEAVY = (
    "mlflow",
    "pandas.core",
    "torch",
    "timm",
    "torchvision",
    "matplotlib",
    "scipy.ndimage",
    "scipy.sparse",
)


def run(code, *arguments):
    """Run Python in a process of its own and return what it prints last."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_commands_that_run_nothing_import_neither_torch_nor_mlflow():
    code = """
import sys
from pathlib import Path
from kedro.framework.cli.cli import KedroCLI
for arguments in (["--help"], ["registry", "list"]):
    try:
        KedroCLI(Path.cwd()).main(arguments)
    except SystemExit as end:
        assert not end.code, arguments
print(*sorted({name for name in sys.argv[1:] if name in sys.modules}), "end")
"""
    assert run(code, *HEAVY) == "end"


def test_a_model_imports_its_own_family_of_networks_only(finished_run):
    code = """
import sys
import affinitynet
import numpy as np
affinitynet.load(sys.argv[1]).predict(np.zeros((32, 48, 3), np.uint8))
names = ("timm.models.resnet", "timm.models.efficientnet", "timm.data.loader",
         "torchvision.datasets", "torchvision.ops.boxes", "torch._dynamo", "sympy", "kedro",
         "mlflow", "matplotlib")
print(*[name for name in names if name in sys.modules])
"""
    assert run(code, finished_run.data) == "timm.models.resnet"


def test_timm_and_torchvision_are_whole_for_others():
    code = """
from affinitynet.networks.backbones import Backbone
Backbone("test_resnet")
import timm, torch, torchvision
from timm.models import *
from torchvision.ops import roi_align
assert len(timm.list_models()) > 1000 and timm.models.efficientnet.tf_efficientnet_lite0
assert timm.data.create_dataset and torchvision.datasets.VOCSegmentation
roi_align(*(torch.zeros(shape, device="meta") for shape in ((1, 3, 8, 8), (1, 5))), 2)
print("whole")
"""
    assert run(code) == "whole"


def test_stages_import_neither_kedro_nor_an_engine():
    code = """
import sys
from affinitynet.stages import affinity_labels, refinement
assert "timm" not in sys.modules  # for the dense CRF's processes, which have no network
from affinitynet.stages import cam, model, revision, segmentation
heavy = ("kedro", "mlflow", "pandas", "loky", "rich")
print(*[name for name in heavy if name in sys.modules], "end")
"""
    assert run(code) == "end"
