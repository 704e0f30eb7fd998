"""Catalog datasets that kedro-datasets lacks.

Importing this package also makes every file that a dataset writes atomic, see
`affinitynet.datasets.atomic` and `affinitynet.datasets.s3`.
"""

from affinitynet.datasets.arrays import ArraysDataset
from affinitynet.datasets.atomic import AtomicLocalFileSystem
from affinitynet.datasets.coco import MasksDataset
from affinitynet.datasets.file import FileDataset
from affinitynet.datasets.folder import FolderDataset
from affinitynet.datasets.label_map import LabelMapDataset
from affinitynet.datasets.named_photos import NamedPhotosDataset
from affinitynet.datasets.page import PageDataset
from affinitynet.datasets.partitions import VersionedPartitionsDataset
from affinitynet.datasets.photos import PhotosDataset
from affinitynet.datasets.stored_file import StoredFileDataset
from affinitynet.datasets.streamed_json import StreamedJSONDataset

__all__ = [
    "ArraysDataset",
    "AtomicLocalFileSystem",
    "FileDataset",
    "FolderDataset",
    "LabelMapDataset",
    "MasksDataset",
    "NamedPhotosDataset",
    "PageDataset",
    "PhotosDataset",
    "StoredFileDataset",
    "StreamedJSONDataset",
    "VersionedPartitionsDataset",
]
