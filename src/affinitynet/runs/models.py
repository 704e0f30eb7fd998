"""Which network a run takes that it has not trained itself."""

import glob
import json
from collections.abc import Iterable

from fsspec.core import url_to_fs

from affinitynet.runs.record import RunRecord

MODEL = "segmentation.model"
"""Catalog entry, shared by all environments: the newest of them is taken."""


def describe_model(version: str, records: Iterable[RunRecord], data: str) -> str:
    """Say which run made a network, how well it does, and how to take another one.

    Args:
        version: Of the network.
        data: The data folder, a path or the URL of an object store.
    """
    env = next((f", environment {each.env}" for each in records if each.version == version), "")
    files, root = url_to_fs(data)
    pattern = f"{glob.escape(root)}/08_reporting/*/segmentation/metrics.json/{version}/*.json"
    scores = [json.loads(files.cat_file(path)) for path in files.glob(pattern)]
    miou = next((f", mIoU {each['miou']:.3f} on val" for each in scores if "miou" in each), "")
    return (
        f"The network is {MODEL} {version}{env}{miou}. To take another one: "
        f"--load-versions {MODEL}:<version>"
    )
