"""MXNet's `.params` files, read without MXNet: the format of ResNet-38's ImageNet weights.

A file is a list of arrays and a list of their names. An array begins with a magic number that
names its layout; the oldest one (2016, that of the published weights) has none and begins with
the number of dimensions. All numbers are little-endian.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LIST = 0x112
"""The number that a file begins with."""
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
"""Layouts of an array: 64-bit dimensions (V1), storage type before them (V2, V3)."""
MAX_DIMENSIONS = 32
TYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")
"""By MXNet's type flag."""


def read_params(path: str | Path) -> dict[str, Tensor]:
    """Read all arrays of a file.

    Args:
        path: A file that `mxnet.nd.save` or an MXNet checkpoint wrote, with named arrays.

    Returns:
        Name (`arg:conv1a_weight`, `aux:bn7_moving_mean`) to array.

    Raises:
        ValueError: If the file is foreign, cut off, or holds sparse or unnamed arrays.
    """
    reader = _Reader(Path(path))
    if reader.size < 24 or reader.take("Q") != LIST:
        raise ValueError(f"{path}: is no MXNet .params file")
    reader.take("Q")  # reserved
    arrays = [reader.array() for _ in range(reader.count(of=8))]
    names = [reader.text() for _ in range(reader.count(of=8))]
    if len(names) != len(arrays):
        raise ValueError(f"{path}: has {len(arrays)} arrays, but {len(names)} names")
    return dict(zip(names, arrays, strict=True))


class _Reader:
    """A file, read from the start; a read beyond its end raises an error."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes, self.at = path, path.read_bytes(), 0
        self.size = len(self.bytes)

    def raw(self, size: int) -> memoryview:
        if size > self.size - self.at:
            raise ValueError(
                f"{self.path}: is cut off: {self.size} bytes, {self.at + size} or more expected; "
                "download it again"
            )
        self.at += size
        return memoryview(self.bytes)[self.at - size : self.at]

    def take(self, kind: str) -> int:
        kind = f"<{kind}"
        value: int = struct.unpack(kind, self.raw(struct.calcsize(kind)))[0]
        return value

    def count(self, *, of: int) -> int:
        """Read a number of items that take `of` bytes at least."""
        number = self.take("Q")
        if number * of > self.size - self.at:
            raise ValueError(
                f"{self.path}: is cut off or damaged: it announces {number} items, which do not "
                f"fit into the {self.size - self.at} bytes that are left"
            )
        return number

    def text(self) -> str:
        return bytes(self.raw(self.count(of=1))).decode()

    def array(self) -> Tensor:
        magic = self.take("I")
        if magic in (V2, V3) and self.take("i") != 0:
            raise ValueError(f"{self.path}: holds sparse arrays, which are not read")
        if magic in (V1, V2, V3):
            dimensions, kind = self.take("I"), "q"
        else:
            dimensions, kind = magic, "I"
        if dimensions > MAX_DIMENSIONS:
            raise ValueError(
                f"{self.path}: is damaged or of an unknown version: an array begins with {magic:#x}"
            )
        shape = [self.take(kind) for _ in range(dimensions)]
        self.raw(8)  # the device that it was saved from
        flag = self.take("i")
        if not 0 <= flag < len(TYPES) or min(shape, default=0) < 0:
            raise ValueError(f"{self.path}: is damaged: type {flag}, shape {shape}")
        dtype: Any = np.dtype(TYPES[flag]).newbyteorder("<")
        data = np.frombuffer(self.raw(int(np.prod(shape)) * dtype.itemsize), dtype)
        return torch.from_numpy(data.reshape(shape).astype(TYPES[flag]))
