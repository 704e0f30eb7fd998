"""Class maps of other programs in place of stage 1: formats, names, and everything wrong."""

import io
import os
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from affinitynet.data.score_files import read_score_maps
from affinitynet.datasets import FolderDataset
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.pipelines.import_maps.nodes import check_maps, import_maps
from tests.conftest import SharedProject

CLASSES = {"dining table": 3, "dog": 1, "cat": 2}
TAGS = {"rex": "dog", "beach/both": "dining table|cat", "tom": "cat"}
LABELS = {"rex": [2], "beach/both": [1, 3], "tom": [3]}
SIZE = (6, 8)


@pytest.fixture
def index():
    rows = [("train", 8, 6, tags) for tags in TAGS.values()]
    table = pd.DataFrame(rows, [*TAGS], ["split", "width", "height", "tags"])
    table.loc["seen"] = ("val", 8, 6, "dog")
    table.loc["empty"] = ("train", 8, 6, "")
    return table.rename_axis("id")


def plane(label, size=SIZE):
    """A map with its own pattern: 5 at the pixel of the label's number."""
    values = np.full(size, 1, np.float32)
    values.flat[label] = 5
    return values


def numpy_dict(folder, photo, labels, first=0):
    np.save(folder / f"{photo}.npy", {label - 1 + first: plane(label) for label in labels})


def with_background(folder, photo, labels):
    maps = {0: np.ones(SIZE, np.float32)} | {label: plane(label) for label in labels}
    np.save(folder / f"{photo}.npy", maps)


def irn(folder, photo, labels):
    maps = np.stack([plane(label) for label in labels])
    fields = {
        "keys": torch.tensor(labels) - 1,
        "cam": torch.from_numpy(maps[:, ::2, ::2].copy()),
        "high_res": maps,
    }
    np.save(folder / f"{photo}.npy", fields)


def names_in_npz(folder, photo, labels):
    names = ["", *CLASSES]
    np.savez(folder / f"{photo}.npz", **{names[label]: plane(label) for label in labels})


def one_of_each_class(folder, photo, labels):
    maps = np.stack([plane(label) for label in (1, 2, 3)])
    save_file({"maps": maps}, folder / f"{photo}.safetensors")


def own_format(folder, photo, labels):
    maps = np.stack([plane(label) for label in labels]).astype(np.float16)
    save_file({"labels": np.array(labels, np.uint8), "maps": maps}, folder / f"{photo}.safetensors")


def image(path, label, bits):
    path.parent.mkdir(parents=True, exist_ok=True)
    factor = 40 if bits == 8 else 9000
    Image.fromarray((plane(label) * factor).astype(f"uint{bits}")).save(path)


def folder_a_class(folder, photo, labels):
    for label in labels:
        image(folder / ["", *CLASSES][label].replace(" ", "_") / f"{photo}.png", label, 8)


def folder_a_photo(folder, photo, labels):
    for label in labels:
        image(folder / photo / f"{label - 1}.png", label, 16)


def suffix(folder, photo, labels):
    for label in labels:
        image(folder / f"{photo}_{['', *CLASSES][label].replace(' ', '_')}.png", label, 16)


FORMATS = (
    *(numpy_dict, with_background, irn, names_in_npz, one_of_each_class, own_format),
    *(folder_a_class, folder_a_photo, suffix),
)


def write(folder, form, labels=LABELS):
    for photo, own in labels.items():
        (folder / photo).parent.mkdir(parents=True, exist_ok=True)
        form(folder, photo, own)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check(folder, index):
    return check_maps(index, files(folder), CLASSES, str(folder), Execution(workers=1))


def taken(folder, index):
    found = {}
    table = check(folder, index)
    for some in import_maps(index, table, files(folder), CLASSES, Execution(workers=1)):
        found |= some
    return found


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
def test_every_format_gives_the_same_maps(tmp_path, index, form):
    write(tmp_path, form)
    found = taken(tmp_path, index)
    assert {photo: maps.labels.tolist() for photo, maps in found.items()} == LABELS
    for photo, labels in LABELS.items():
        for label, scores in zip(labels, found[photo].maps, strict=True):
            assert scores.argmax() == label
            assert scores.max() == 1
            np.testing.assert_allclose(scores.min(), 0.2, atol=0.01)


def test_numbers_begin_where_the_tags_say(tmp_path, index):
    for first in (0, 1):
        write(tmp_path, lambda *given, first=first: numpy_dict(*given, first=first))
        assert {i: maps.labels.tolist() for i, maps in taken(tmp_path, index).items()} == LABELS


def test_a_map_without_any_score_stays_empty(tmp_path, index):
    write(tmp_path, numpy_dict)
    np.save(tmp_path / "rex.npy", {1: np.zeros(SIZE, np.float32)})
    assert not taken(tmp_path, index)["rex"].maps.any()


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_run_nothing(tmp_path, index):
    target = tmp_path / "made"
    write(tmp_path, numpy_dict)
    np.save(tmp_path / "rex.npy", {1: Harmful(str(target))})
    with pytest.raises(UserError, match=r"rex: .*mkdir.*could run code; write np\.savez"):
        check(tmp_path, index)
    assert not target.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_any_protocol_are_read(protocol):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    maps = np.array({np.int64(4): np.asfortranarray(plane(1)).astype(">f4")}, object)
    read = read_score_maps(header.getvalue() + pickle.dumps(maps, protocol=protocol), "a.npy")
    assert read.keys == [4]
    np.testing.assert_array_equal(read.maps[0], plane(1))


WRONG = {
    "the photo has no class maps": lambda folder: (folder / "tom.npy").unlink(),
    "the maps cannot be read": lambda folder: (folder / "tom.npy").write_bytes(b"GIF89a"),
    "a map of dog, which is not among its tags": lambda folder: np.save(
        folder / "tom.npy", {1: plane(2), 2: plane(3)}
    ),
    "no map of its tag cat": lambda folder: np.save(folder / "tom.npy", {}),
    "a map of '20', which is no class (of 3)": lambda folder: np.save(
        folder / "tom.npy", {2: plane(3), 20: plane(3)}
    ),
    "NaN or infinite": lambda folder: np.save(folder / "tom.npy", {2: plane(3) * np.nan}),
    "or beyond what 32 bits hold": lambda folder: np.save(
        folder / "tom.npy", {2: plane(3).astype(float) * 1e300}
    ),
    "the maps have no pixels": lambda folder: np.save(folder / "tom.npy", {2: np.zeros((0, 16))}),
    "scores below 0": lambda folder: np.save(folder / "tom.npy", {2: -plane(3)}),
    "the photo turned": lambda folder: np.save(folder / "tom.npy", {2: plane(3).T}),
    "has 5 maps without keys": lambda folder: np.save(folder / "tom.npy", np.ones((5, 6, 8))),
    "several files of it": lambda folder: np.savez(folder / "tom.npz", cat=plane(3)),
    "of different sizes": lambda folder: np.save(
        folder / "tom.npy", {2: plane(3), 1: plane(2, (4, 4))}
    ),
}


@pytest.mark.parametrize("line", WRONG)
def test_what_does_not_fit_is_named(tmp_path, index, line):
    write(tmp_path, numpy_dict)
    WRONG[line](tmp_path)
    with pytest.raises(UserError) as error:
        check(tmp_path, index)
    assert line in str(error.value)
    assert "\n  tom: " in str(error.value)


def test_a_file_in_place_of_the_folder_is_named(tmp_path, index):
    np.save(path := tmp_path / "tom.npy", {2: plane(3)})
    given = FolderDataset(path=str(path), dataset="json.JSONDataset").load()
    with pytest.raises(UserError, match=r"tom\.npy: is a file; name the folder"):
        check_maps(index, given, CLASSES, str(path), Execution(workers=1))


def test_a_folder_without_maps_is_named(tmp_path, index):
    with pytest.raises(UserError, match=rf"maps={tmp_path}: has no class maps of the 3 training"):
        check(tmp_path, index)


@pytest.fixture(scope="session")
def refined(finished_run, made_once):
    """A whole run on the maps of the finished run's classifier, in `maps`; not to be changed."""

    def fill(folder):
        project = finished_run.copy(folder)
        (maps := folder / "maps").mkdir()
        for photo, read in finished_run.catalog().load("cam.maps").items():
            own = read()
            scores = zip((own.labels - 1).tolist(), own.maps.astype(np.float32) * 7, strict=True)
            np.save(maps / f"{photo}.npy", dict(scores))  # as PSA does
        project.run(parameters={"maps": str(maps)}, to_nodes=["reporting.make_gallery"])

    return SharedProject(made_once("refined", fill))


def test_the_whole_run_goes_without_a_classifier(refined):
    nodes = refined.record()["nodes"]
    assert "cam.import_maps" in nodes
    assert "cam.train" not in nodes
    assert "reporting.make_gallery" in nodes


def test_refinement_starts_from_given_maps(refined, finished_run):
    maps, taken = (project.catalog().load("cam.maps") for project in (finished_run, refined))
    assert taken.keys() == maps.keys()
    for photo, read in maps.items():
        np.testing.assert_allclose(taken[photo]().maps, read().maps, atol=1e-3)
    scores, before = refined.metrics()["cam"], finished_run.metrics()["cam"]
    assert scores["miou"] == pytest.approx(before["miou"], abs=0.01)


def test_a_stage_alone_starts_from_given_maps(refined, finished_copy):
    finished_copy.run("affinity_labels", parameters={"maps": str(refined.folder / "maps")})
    record = finished_copy.record()
    assert record["finished"]
    assert "import_maps" in record["pipelines"]
    assert record["inputs"]["given_maps"].startswith("12 files")


def test_networks_start_from_the_configured_weights(refined):
    catalog = refined.catalog()
    untrained, initial = catalog.load("cam.model"), catalog.load("affinity_training.initial")
    assert untrained.progress == {}
    names = [name for name in initial.weights if name.startswith("backbone.")]
    assert names
    assert all(torch.equal(initial.weights[name], untrained.weights[name]) for name in names)
