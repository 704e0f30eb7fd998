"""Catalog datasets that kedro-datasets lacks.

Importing this package also makes every local file that a dataset writes atomic, see
`affinitynet.datasets.atomic`.
"""

from affinitynet.datasets.atomic import AtomicLocalFileSystem
from affinitynet.datasets.folder import FolderDataset
from affinitynet.datasets.label_map import LabelMapDataset
from affinitynet.datasets.partitions import VersionedPartitionsDataset
from affinitynet.datasets.photos import PhotosDataset
from affinitynet.datasets.stored_file import FileDataset
from affinitynet.datasets.streamed_json import StreamedJSONDataset

__all__ = [
    "AtomicLocalFileSystem",
    "FileDataset",
    "FolderDataset",
    "LabelMapDataset",
    "PhotosDataset",
    "StreamedJSONDataset",
    "VersionedPartitionsDataset",
]
