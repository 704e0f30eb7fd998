"""The parts of timm that the networks need, without the rest.

`import timm` imports all of its network families, and torchvision with torch's compiler: seconds,
for one network. Here the code of these packages runs only when a name of theirs is looked up;
their submodules can be imported before. If
timm or torchvision was imported first, it stays as it is.
"""

import re
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

DEFERRED = (
    *("torchvision", "torchvision.models", "torchvision.ops"),  # of which timm needs a file each
    *("timm", "timm.models", "timm.data"),
)


def _defer(package: str, **names: Any) -> None:
    """Put a package in place whose own code runs when a name is looked up that it lacks.

    Args:
        package: Its name; its parents are in place.
        **names: Names that it has from the start.
    """
    spec = None if package in sys.modules else find_spec(package)
    if spec is None or spec.loader is None:
        return
    module, loader = module_from_spec(spec), spec.loader

    def execute(name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)  # of those that look through all modules
        del vars(module)["__getattr__"]
        loader.exec_module(module)
        return getattr(module, name)

    vars(module).update(names, __getattr__=execute)
    sys.modules[package] = module
    parent, _, child = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


if "timm" not in sys.modules:
    for _package in DEFERRED:
        _defer(_package)
    vars(sys.modules["timm"])["__version__"] = import_module("timm.version").__version__
    vars(sys.modules["timm.data"]).update(
        {
            name: value
            for name, value in vars(import_module("timm.data.constants")).items()
            if name.isupper()
        }
    )

from timm.layers.conv2d_same import Conv2dSame  # noqa: E402
from timm.layers.norm_act import convert_sync_batchnorm  # noqa: E402
from timm.layers.padding import get_same_padding, pad_same  # noqa: E402
from timm.models._factory import create_model as _create_model  # noqa: E402
from timm.models._registry import is_model, register_model  # noqa: E402

__all__ = [
    "Conv2dSame",
    "convert_sync_batchnorm",
    "create_model",
    "get_same_padding",
    "pad_same",
    "register_model",
]


def create_model(name: str, **options: Any) -> Any:
    """Build a network; of timm's families only its own is imported.

    Args:
        name: As in `timm.list_models()`, with or without the tag of its weights.
        **options: Further arguments of `timm.create_model`; `pretrained` is False unless given.

    Raises:
        RuntimeError: If there is no such network.
    """
    if not is_model(name):
        models = Path(str(sys.modules["timm.models"].__file__)).parent
        family = re.escape(name.partition(".")[0])
        defines = re.compile(rf"^def {family}\(", re.MULTILINE)
        for file in sorted(models.glob("[!_]*.py")):
            if defines.search(file.read_text()):
                import_module(f"timm.models.{file.stem}")
    return _create_model(name, **{"pretrained": False} | options)
