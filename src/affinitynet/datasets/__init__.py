"""Catalog datasets that kedro-datasets lacks.

Importing this package also makes every local file that a dataset writes atomic, see
`affinitynet.datasets.atomic`.
"""

from affinitynet.datasets.atomic import AtomicLocalFileSystem
from affinitynet.datasets.coco import MasksDataset
from affinitynet.datasets.file import FileDataset
from affinitynet.datasets.folder import FolderDataset
from affinitynet.datasets.label_map import LabelMapDataset
from affinitynet.datasets.partitions import VersionedPartitionsDataset
from affinitynet.datasets.photos import PhotosDataset

__all__ = [
    "AtomicLocalFileSystem",
    "FileDataset",
    "FolderDataset",
    "LabelMapDataset",
    "MasksDataset",
    "PhotosDataset",
    "VersionedPartitionsDataset",
]
