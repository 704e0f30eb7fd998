"""Catalog datasets that kedro-datasets lacks.

In a process of `kedro run`, every file that a dataset writes is atomic, see
`affinitynet.datasets.atomic`.
"""

import lazy_loader

# As in kedro-datasets: what a command does not read or write is not imported.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "arrays": ["ArraysDataset", "ClassMapsDataset"],
        "atomic": ["AtomicLocalFileSystem", "register_atomic_file_systems"],
        "checkpoint": ["CheckpointDataset"],
        "corrected": ["CorrectedDataset"],
        "folder": ["FolderDataset"],
        "label_map": ["LabelMapDataset"],
        "masks": ["MasksDataset", "MasksHeaderDataset"],
        "named_photos": ["NamedPhotosDataset"],
        "output_folder": ["OutputFolderDataset"],
        "partitions": ["LastPartitionsDataset", "PageDataset", "VersionedPartitionsDataset"],
        "photos": ["PhotoDataset", "PhotosDataset", "SegmentsDataset"],
        "scored_mask": ["ScoredMaskDataset"],
        "stored_file": ["StoredFileDataset"],
        "streamed_json": ["StreamedJSONDataset"],
        "tags": ["TagsDataset"],
    },
)
