"""Catalog datasets that kedro-datasets lacks.

In a process of `kedro run`, every file that a dataset writes is atomic, see
`affinitynet.datasets.atomic`.
"""

from affinitynet.datasets.arrays import ArraysDataset
from affinitynet.datasets.atomic import AtomicLocalFileSystem, register_atomic_file_systems
from affinitynet.datasets.checkpoint import CheckpointDataset
from affinitynet.datasets.class_maps import ClassMapsDataset
from affinitynet.datasets.corrected import CorrectedDataset
from affinitynet.datasets.folder import FolderDataset
from affinitynet.datasets.label_map import LabelMapDataset
from affinitynet.datasets.masks import MasksDataset, MasksHeaderDataset
from affinitynet.datasets.named_photos import NamedPhotosDataset
from affinitynet.datasets.output_folder import OutputFolderDataset
from affinitynet.datasets.page import PageDataset
from affinitynet.datasets.partitions import LastPartitionsDataset, VersionedPartitionsDataset
from affinitynet.datasets.photos import PhotoDataset, PhotosDataset
from affinitynet.datasets.scored_mask import ScoredMaskDataset
from affinitynet.datasets.segments import SegmentsDataset
from affinitynet.datasets.stored_file import StoredFileDataset
from affinitynet.datasets.streamed_json import StreamedJSONDataset
from affinitynet.datasets.tags import TagsDataset

__all__ = [
    "ArraysDataset",
    "AtomicLocalFileSystem",
    "CheckpointDataset",
    "ClassMapsDataset",
    "CorrectedDataset",
    "FolderDataset",
    "LabelMapDataset",
    "LastPartitionsDataset",
    "MasksDataset",
    "MasksHeaderDataset",
    "NamedPhotosDataset",
    "OutputFolderDataset",
    "PageDataset",
    "PhotoDataset",
    "PhotosDataset",
    "ScoredMaskDataset",
    "SegmentsDataset",
    "StoredFileDataset",
    "StreamedJSONDataset",
    "TagsDataset",
    "VersionedPartitionsDataset",
    "register_atomic_file_systems",
]
