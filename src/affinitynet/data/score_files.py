"""Class maps that other programs wrote: their files' formats, without executing anything of them.

A pickle is a program. NumPy's object arrays are read here by an unpickler that knows arrays of
numbers, dicts, lists and PyTorch's CPU tensors, and refuses every other name.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors")
"""Files with all maps of a photo."""
IMAGE_SUFFIXES = (".png", ".tif", ".tiff")
"""Files with the map of one class."""
GREY_MODES = ("1", "L", "I", "F")
"""Pillow's names of images of one channel; 16 bits are `I;16`."""
CONVERT = (
    "np.savez('<photo>.npz', keys=np.array([*maps]), cam=np.stack([*maps.values()])) in place "
    "of np.save('<photo>.npy', maps)"
)
NUMBERS = "fiub"
"""NumPy's kinds of numbers that a score may have."""

Key = int | str
"""Number or name of a class in a file."""


@dataclass(frozen=True, eq=False)
class ScoreMaps:
    """The class maps in a file.

    Attributes:
        keys: Class of each map, as the file names it; None where the maps have only an order.
        maps: (K, h, w) numbers.
    """

    keys: list[Key] | None
    maps: npt.NDArray[Any]


def read_score_maps(content: bytes, file: str) -> ScoreMaps:
    """Read the class maps of a file; the suffix of its name is the format.

    Raises:
        ValueError: If it has no such maps, or would have to execute code.
    """
    suffix = PurePosixPath(file).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ScoreMaps(None, _read_grey(content)[None])
    return _interpret(READERS[suffix](content))


def _interpret(data: Any) -> ScoreMaps:
    """Find the maps in an array, in `{class: map}`, or in IRN's or this project's fields."""
    if not isinstance(data, Mapping):
        data = np.asarray(data)
        if data.ndim != 3:
            raise ValueError(f"has an array of shape {data.shape}; maps are (classes, h, w)")
        return ScoreMaps(None, _numbers(data))
    named = next((name for name in ("keys", "labels") if name in data), None)
    stacked = next((name for name in ("high_res", "cam", "maps") if name in data), None)
    if named and stacked:
        keys = _numbers(data[named]).ravel().tolist()
        maps = _numbers(data[stacked])
    elif len(data) == 1 and np.ndim(only := next(iter(data.values()))) == 3:
        return ScoreMaps(None, _numbers(only))
    else:
        keys = [as_key(key) for key in data]
        planes = [_numbers(plane) for plane in data.values()]
        if len({plane.shape for plane in planes}) > 1:
            raise ValueError("has maps of different sizes")
        maps = np.stack(planes) if planes else np.zeros((0, 1, 1))
    if maps.ndim != 3 or len(keys) != len(maps):
        raise ValueError(f"has {len(keys)} keys and maps of shape {maps.shape}")
    return ScoreMaps([as_key(key) for key in keys], maps)


def as_key(key: Any) -> Key:
    """Read a class's number or name."""
    text = str(key).strip()
    return int(text) if text.isdecimal() else text


def _numbers(values: Any) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in NUMBERS:
        raise ValueError(f"has {array.dtype} where numbers were expected")
    return array


def _read_grey(content: bytes) -> npt.NDArray[Any]:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        if image.mode not in GREY_MODES and not image.mode.startswith("I;16"):
            raise ValueError(f"is an image of mode {image.mode}; a map has one channel of grey")
        return np.asarray(image)


def _read_safetensors(content: bytes) -> dict[str, Any]:
    from safetensors.numpy import load

    return dict(load(content))


def _read_npz(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            name.removesuffix(".npy"): _read_npy(archive.read(name)) for name in archive.namelist()
        }


def _read_npy(content: bytes) -> Any:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"is of NumPy's format {version}; save it again with np.save")
    _, _, dtype = read_header(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    loaded = _plain(_NumbersOnly(file).load())
    return loaded.item() if isinstance(loaded, np.ndarray) and loaded.ndim == 0 else loaded


READERS: dict[str, Callable[[bytes], Any]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
}
"""By suffix."""


class _DType:
    """Stands for `numpy.dtype` while a pickle is read."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def resolve(self) -> np.dtype[Any]:
        dtype = np.dtype(str(self.code))
        if dtype.kind not in NUMBERS:
            raise ValueError(f"has {dtype} where numbers were expected")
        return np.dtype(f"{self.order}{self.code}") if self.order in "<>" else dtype


class _Array:
    """Stands for `numpy.ndarray` while a pickle is read."""

    value: Any = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if isinstance(data, list):  # of objects
            self.value = np.empty(len(data), object)
            self.value[:] = [_plain(each) for each in data]
            self.value = self.value.reshape(shape)
        else:
            flat = np.frombuffer(data, dtype.resolve())
            self.value = flat.reshape(shape, order="F" if is_fortran else "C")


def _frombuffer(data: bytes, dtype: _DType, shape: Any, order: str) -> npt.NDArray[Any]:
    return np.frombuffer(data, dtype.resolve()).reshape(shape, order="F" if order == "F" else "C")


def _storage(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> npt.NDArray[Any]:
    import torch

    tensor = torch.empty(0, dtype=storage.dtype).set_(
        storage, offset, torch.Size(size), tuple(stride)
    )
    return np.asarray(tensor.numpy())


def _plain(value: Any) -> Any:
    """Put what was read in place of what stood for it."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): lambda dtype, data: _frombuffer(data, dtype, -1, "C")[0],
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
}
"""Names that a pickle may have, NumPy's as before version 2, and what stands for them here."""


class _NumbersOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Look a name of the pickle up; pickle calls this for each."""
        try:
            return KNOWN[module.replace("numpy._core.", "numpy.core.", 1), name]
        except KeyError:
            raise ValueError(
                f"has pickled objects ({module}.{name}), which are not read, as they could run "
                f"code; write {CONVERT}"
            ) from None
