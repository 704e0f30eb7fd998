"""A library call leaves its process as it is; `kedro run` sets up its own."""

import os
import subprocess
import sys

from tests.conftest import PROJECT

SNAPSHOT = """
import ctypes, os, random, sys, warnings
import numpy, torch, fsspec
from PIL import Image, ImageFile
# What other packages do when they are imported is theirs.
import kedro_datasets.partitions, loky, mlflow, pandas, rich.progress, scipy.ndimage, timm
import pycocotools.mask, pydensecrf.densecrf, safetensors.torch, torchvision

class MallInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.malloc.argtypes = [ctypes.c_size_t]

def maps_large_blocks():
    # as malloc does, unless mallopt forbids it; they go back to the system when they are freed
    if not hasattr(libc, "mallinfo2"):
        return None
    libc.mallinfo2.restype = MallInfo
    before = libc.mallinfo2().d
    block = libc.malloc(1 << 30)
    mapped = libc.mallinfo2().d - before
    libc.free(block)
    return mapped

def snapshot():
    fsspec.filesystem("file")  # what fsspec itself registers when it is first used
    return {
        "environment": dict(os.environ),
        "fsspec": [fsspec.get_filesystem_class(name) for name in ("file", "local", "memory")],
        "registry": dict(fsspec.registry),
        "known": str(sys.modules["fsspec.registry"].known_implementations),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "filled": torch.utils.deterministic.fill_uninitialized_memory,
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "tf32": torch.get_float32_matmul_precision(),
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(numpy.random.get_state()),
        "python": random.getstate(),
        "pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
        "malloc": maps_large_blocks(),
        "ours": [each for each in warnings.filters if "dataset names" in str(each)],
    }

def check(before):
    after = snapshot()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, {name: (before[name], after[name]) for name in changed}

before = snapshot()
"""


def python(code, *arguments):
    names = ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]


def test_importing_loading_and_predicting_change_nothing(finished_run):
    python(
        SNAPSHOT
        + "import affinitynet, affinitynet.datasets, affinitynet.execution, affinitynet.model\n"
        + "import affinitynet.serving\n"
        + "check(before)\n"
        + "model = affinitynet.load(sys.argv[1])\n"
        + "for model.config['inference']['crf'] in (None, {'iterations': 1}):\n"
        + "    model.predict(numpy.zeros((40, 60, 3), numpy.uint8))\n"
        + "    check(before)\n",
        finished_run.data / "06_models/export",
    )


def test_a_process_of_kedro_writes_atomically_and_sends_nothing():
    python(
        "import fsspec, os, sys\n"
        "from kedro.framework.project import configure_project, settings\n"
        "configure_project('affinitynet')\n"
        "assert settings.HOOKS\n"
        "import fsspec\n"
        "from affinitynet.datasets import AtomicLocalFileSystem\n"
        "assert fsspec.get_filesystem_class('file') is AtomicLocalFileSystem\n"
        "assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'\n"
        "assert os.environ['DO_NOT_TRACK'] == '1'\n"
    )


def test_a_worker_s_process_writes_atomically(tmp_path):
    python(
        "import fsspec, pickle, sys\n"
        "from affinitynet.datasets import AtomicLocalFileSystem, FolderDataset\n"
        "folder = FolderDataset(path=sys.argv[1], dataset='json.JSONDataset', read_only=False)\n"
        "save = pickle.loads(pickle.dumps(folder.saver()))\n"
        "assert fsspec.get_filesystem_class('file') is not AtomicLocalFileSystem\n"
        "save('a', 1)\n"
        "assert fsspec.get_filesystem_class('file') is AtomicLocalFileSystem\n",
        tmp_path,
    )
