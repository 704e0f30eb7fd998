"""Catalog datasets that kedro-datasets lacks.

Importing this package also makes every file that a dataset writes atomic, see
`affinitynet.datasets.atomic` and `affinitynet.datasets.s3`.
"""

from affinitynet.datasets.arrays import ArraysDataset
from affinitynet.datasets.atomic import AtomicLocalFileSystem
from affinitynet.datasets.folder import FolderDataset
from affinitynet.datasets.label_map import LabelMapDataset
from affinitynet.datasets.partitions import VersionedPartitionsDataset

__all__ = [
    "ArraysDataset",
    "AtomicLocalFileSystem",
    "FolderDataset",
    "LabelMapDataset",
    "VersionedPartitionsDataset",
]
