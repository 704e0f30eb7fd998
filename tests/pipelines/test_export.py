"""What a run leaves for others: a file to load, a model to serve, an ONNX graph."""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import mlflow
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from mlflow.artifacts import download_artifacts
from PIL import Image
from safetensors import safe_open

import affinitynet
from affinitynet.core.label_maps import voc_palette
from affinitynet.errors import UserError
from affinitynet.networks.checkpoint import build
from affinitynet.networks.inference import fold_norms
from affinitynet.networks.onnx import PhotoSegmenter, deviation, export
from affinitynet.pipelines.description import RunDescription
from affinitynet.pipelines.export.nodes import export_int8, write_card
from affinitynet.runs.newest import model_uri
from tests.conftest import PROJECT, SharedProject

ACTIVATED = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
"""The search path in the activated environment: MLflow's server starts uvicorn by its name."""


def exported(project, name):
    return max(project.data.glob(f"06_models/export/{name}/*/{name}"))


def pack(project, **options):
    parameters = {f"export.{name}": value for name, value in options.items()}
    project.run(node_names=["export.pack"], parameters=parameters)


def export_onnx(project, **options):
    options = {"output_stride": None, "check_side": 64, "tolerance": 1e-4} | options
    parameters = {f"export.onnx.{name}": value for name, value in options.items()}
    project.run(node_names=["export.export_onnx"], parameters=parameters)
    return project


@pytest.fixture(scope="session")
def with_onnx(finished_run, made_once):
    """The finished project with an ONNX file; not to be changed."""
    made = made_once("with_onnx", lambda folder: export_onnx(finished_run.copy(folder)))
    return SharedProject(made)


@pytest.fixture(scope="module")
def logged(finished_run):
    """The folder of the MLflow model."""
    return next((finished_run.folder / "artifacts").rglob("MLmodel")).parent


@pytest.fixture
def photo(finished_run):
    return next(iter(finished_run.catalog().load("photos").values()))()


def png(image):
    file = BytesIO()
    image.save(file, "png")
    return file.getvalue()


# ---- safetensors ---------------------------------------------------------------------------


def test_one_file_is_complete(finished_run):
    with safe_open(exported(finished_run, "model.safetensors"), "np") as file:
        metadata = file.metadata()
    config = json.loads(metadata["config"])
    assert config["classes"] == {"car": 1, "fish": 2, "house": 3, "owl": 4}
    assert config["inference"]["long_side"] == 64
    assert config["backbone"]["name"] == "test_resnet"
    palette = config["palette"]
    assert palette == {str(value): voc_palette()[value].tolist() for value in range(5)}


def test_it_does_not_say_where_the_weights_came_from(finished_copy):
    path = next(finished_copy.data.glob("06_models/segmentation/model.pt/*/model.pt"))
    state = torch.load(path, weights_only=True)
    state["config"]["weights"] = state["config"]["backbone"]["weights"] = "/home/me/weights.pt"
    torch.save(state, path)
    pack(finished_copy)
    assert b"/home/me" not in exported(finished_copy, "model.safetensors").read_bytes()


# ---- model card -----------------------------------------------------------------------------


def test_the_model_card_has_data_classes_scores_and_licence(finished_run):
    card = ModelCard.load(exported(finished_run, "README.md"))
    scores = finished_run.metrics()["segmentation"]
    (result,) = card.data.eval_results
    assert result.metric_value == pytest.approx(scores["miou"])
    assert (result.dataset_name, result.dataset_split) == ("rendered scenes", "val")
    assert (card.data.license, card.data.pipeline_tag) == ("other", "image-segmentation")
    rows = re.findall(r"^\| (\w+) \| (\d+) \| ([\d.–]+) \|$", card.text, re.MULTILINE)
    assert {name: int(value) for name, value, _ in rows} == finished_run.catalog().load("classes")
    given = {name: number for name, _, number in rows if number != "–"}  # val shows no car
    assert given == {name: f"{iou:.3f}" for name, iou in scores["iou"].items() if name in given}
    assert "rendered scenes: 12 photos to learn from, 4 to evaluate on." in card.text
    assert str(finished_run.folder) not in card.content


def test_a_model_card_without_masks_has_no_scores(finished_run):
    catalog = finished_run.catalog()
    model, index = catalog.load("segmentation.model"), catalog.load("index")
    card = ModelCard(write_card(model, index, {}, RunDescription("now", "base", "mine"), "mit"))
    assert not card.data.eval_results
    assert "the data set has no masks to score with" in card.text
    assert "\nmit. The photos" in card.text


# ---- ONNX ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tf_efficientnet_lite0", {"output_stride": 16}),
        ("vgg16_deeplab", {"output_stride": 8}),
    ],
)
def test_onnx_is_torch_at_every_size(name, options):
    torch.manual_seed(0)
    classes = {"cat": 8, "dog": 12}
    config = {"kind": "segmentation", "backbone": {"name": name, **options}, "classes": classes}
    network = fold_norms(build(config | {"head": {"channels": 8}}).eval())
    segmenter = PhotoSegmenter(network, [*classes.values()]).eval()
    model = export(segmenter, {"classes": classes})
    rng = np.random.default_rng(0)
    for shape in [(1, 64, 96), (2, 64, 96), (1, 75, 101), (3, 97, 50), (1, 33, 128)]:
        images = rng.integers(0, 256, (*shape, 3), np.uint8)
        assert deviation(model, segmenter, images) < 1e-5, shape
        masks = onnxruntime.InferenceSession(model).run(["masks"], {"images": images})[0]
        assert masks.shape == shape
        assert masks.dtype == np.uint8
        assert {*np.unique(masks)} <= {0, 8, 12}


def test_onnx_says_what_its_masks_mean(with_onnx):
    model = onnx.load(exported(with_onnx, "model.onnx"))
    onnx.checker.check_model(model)
    given = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert given["classes"] == {"background": 0, "car": 1, "fish": 2, "house": 3, "owl": 4}
    assert given["palette"]["1"] == [128, 0, 0]
    assert given["long_side"] == 64
    assert given["output_stride"] == 8
    used = {tensor.data_type for tensor in model.graph.initializer}
    assert not used & {onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT16}


def test_onnx_makes_the_masks_of_the_fast_prediction(with_onnx, photo):
    session = onnxruntime.InferenceSession(exported(with_onnx, "model.onnx"))
    model = affinitynet.load(exported(with_onnx, "model.safetensors"))
    for size in ((64, 48), (51, 64), (64, 33)):
        resized = photo.resize(size)
        probabilities, masks = session.run(None, {"images": np.asarray(resized)[None]})
        prediction = model.predict(resized, fast=True)
        np.testing.assert_allclose(probabilities[0].max(axis=0), prediction.confidence, atol=1e-4)
        np.testing.assert_array_equal(masks[0], prediction.mask)


def test_eight_bits_are_compared_with_float32(with_onnx, photo):
    catalog = with_onnx.catalog()
    model, index, photos = map(catalog.load, ("segmentation.model", "index", "photos"))
    content = exported(with_onnx, "model.onnx").read_bytes()
    small, report = export_int8(model, content, index, photos, 2, 0)
    assert report["int8_mb"] < report["float_mb"]
    assert 0.5 < report["agreement"] <= 1
    assert 0 < report["miou"] <= 1
    assert min(report["float_ms"], report["int8_ms"]) > 0
    told = {entry.key for entry in onnx.load_from_string(small).metadata_props}
    assert told >= {entry.key for entry in onnx.load_from_string(content).metadata_props}
    for shape in ((64, 48), (51, 64)):
        images = np.asarray(photo.resize(shape[::-1]))[None]
        (masks,) = onnxruntime.InferenceSession(small).run(["masks"], {"images": images})
        assert masks.shape == images.shape[:3]


def test_a_disagreement_is_an_error(finished_copy, with_onnx, monkeypatch):
    graph = exported(with_onnx, "model.onnx").read_bytes()  # of this network: it takes seconds
    monkeypatch.setattr("affinitynet.networks.onnx.export", lambda *_: graph)
    with pytest.raises(UserError, match=r"ONNX model and torch disagree.*export.onnx.tolerance"):
        export_onnx(finished_copy, tolerance=1e-12)
    assert not [*finished_copy.data.glob("06_models/export/model.onnx/*/*")]


def test_a_stride_that_the_network_cannot_have_is_named(finished_copy):
    with pytest.raises(UserError, match=r"export.onnx.output_stride"):
        export_onnx(finished_copy, output_stride=7)


# ---- MLflow --------------------------------------------------------------------------------


def test_the_run_registers_its_model(finished_run, finished_copy):
    versions = "select name, version, run_id from model_versions order by version"
    run = finished_run.record()["mlflow_run"]
    assert finished_run.query(versions) == [("affinitynet", 1, run)]
    pack(finished_copy, registered_model="animals")
    assert [row[:2] for row in finished_copy.query(versions)] == [
        ("affinitynet", 1),
        ("animals", 1),
    ]


def test_a_logged_model_is_found_by_its_score_on_a_data_set(finished_run):
    client = mlflow.MlflowClient(f"sqlite:///{finished_run.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("affinitynet").experiment_id
    miou = finished_run.metrics()["segmentation"]["miou"]
    for data, bar, count in (("val", 0.5, 1), ("val", 2, 0), ("train", 0.5, 0)):
        found = client.search_logged_models(
            experiment_ids=[experiment],
            filter_string=f"metrics.`segmentation.miou` > {bar * miou}",
            datasets=[{"dataset_name": f"rendered scenes, {data}"}],
        )
        assert len(found) == count


def test_make_serve_finds_the_newest_model(finished_run, tmp_path):
    folder = finished_run.data / "08_reporting/runs"
    store = f"sqlite:///{finished_run.folder / 'mlflow.db'}"
    for env in (None, "test"):
        uri = model_uri(folder, env)
        found = download_artifacts(uri, dst_path=tmp_path, tracking_uri=store)
        assert (Path(found) / "MLmodel").exists()


def test_without_a_name_nothing_is_registered(finished_copy):
    before = finished_copy.query("select name, version from model_versions")
    pack(finished_copy, registered_model=None)
    assert finished_copy.query("select name, version from model_versions") == before
    assert len([*(finished_copy.folder / "artifacts").rglob("MLmodel")]) == 2


def test_nothing_in_it_is_pickled(logged):
    files = {path.suffix for path in logged.rglob("*") if path.is_file()}
    assert not files & {".pkl", ".pickle", ".pt", ".bin"}
    assert {path.name for path in (logged / "data").iterdir()} == {"model.safetensors"}


def test_python_users_load_it_without_the_project(logged, photo, finished_run, tmp_path):
    (tmp_path / "photo.png").write_bytes(png(photo))
    code = (
        "import mlflow, numpy, sys\n"
        "from PIL import Image\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "image, array = open('photo.png', 'rb').read(), numpy.asarray(Image.open('photo.png'))\n"
        "row, same = model.predict({'image': [image, array]}).iloc\n"
        "assert row['mask'] == same['mask']\n"
        "open('mask.png', 'wb').write(row['mask'])\n"
        "import affinitynet; assert affinitynet.__file__.startswith(sys.argv[1])\n"
        "assert row['classes']['owl'] == 4 and 'kedro' not in sys.modules\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code, logged], cwd=tmp_path, env=environment, check=True)
    expected = affinitynet.load(finished_run.data).predict(photo).mask
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")), expected)


@pytest.fixture(scope="module")
def server(logged, tmp_path_factory):
    """`mlflow models serve` on a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(logged)]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=log.parent,
            env=os.environ | {"PATH": ACTIVATED},
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert process.poll() is None, log.read_text()
            try:
                urlopen(f"{address}/ping", timeout=5).close()
                break
            except (URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)
        else:
            pytest.fail(log.read_text())
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def post(server, body, content_type="application/json"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(f"{server}/invocations", body, {"Content-Type": content_type})
    with urlopen(request, timeout=300) as answer:
        return json.load(answer)["predictions"]


def ask(server, *images):
    rows = [[base64.encodebytes(i).decode() if isinstance(i, bytes) else i] for i in images]
    return post(server, {"dataframe_split": {"columns": ["image"], "data": rows}})


def test_a_server_answers_with_masks(server, finished_run, photo):
    wide = photo.resize((90, 41))
    answers = ask(server, png(photo), png(wide.convert("L")), np.asarray(wide).tolist())
    model = affinitynet.load(finished_run.data)
    for answer, asked in zip(answers, (photo, wide.convert("L"), wide), strict=True):
        mask = Image.open(BytesIO(base64.b64decode(answer["mask"])))
        assert mask.mode == "P"
        assert mask.getpalette()[:15] == voc_palette()[:5].ravel().tolist()
        np.testing.assert_array_equal(np.asarray(mask), model.predict(asked).mask)
        assert answer["classes"] == model.classes


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"no image", "no image that Pillow can read"),
        ("not64", "a text that is no base64"),
        ([[1, 2], [3, 4]], "an array of shape (2, 2)"),
        ([[[256, 0, 0]]], "numbers from 0 to 256"),
        ([[1, 2], [3]], "rows of different lengths"),
        (7, "a value of type int"),
        ([[[0.5, 0.25, 1.0]]], "an array of float"),
        ([[[200.0, 3.0, 4.0]]], "an array of float"),
        ([[[True, False, True]]], "an array of bool"),
        ([[["1", "2", "3"]]], "an array of str"),
    ],
)
def test_a_server_says_what_is_no_image(server, image, message):
    with pytest.raises(HTTPError) as error:
        ask(server, image)
    assert error.value.code == 400
    said = error.value.read().decode()
    assert "image 0: " in said
    assert message in said


def test_other_forms_of_a_request_are_understood_or_explained(server, photo):
    image = base64.b64encode(png(photo)).decode()
    assert len(post(server, {"inputs": {"image": [image, image]}})) == 2
    for body, content_type, code, message in (
        ({"inputs": {"image": ["abc"]}}, "application/json", 400, "a text that is no base64"),
        (png(photo), "image/png", 415, "only supports the following content types"),
    ):
        with pytest.raises(HTTPError) as error:
            post(server, body, content_type)
        assert error.value.code == code
        assert message in error.value.read().decode()


def test_a_small_file_of_a_huge_photo_is_refused(server):
    huge = png(Image.new("1", (13_000, 13_000)))
    assert len(huge) < 200_000
    with pytest.raises(HTTPError) as error:
        ask(server, huge)
    assert error.value.code == 400
    assert "a photo of 13000 x 13000 pixels; at most 64,000,000" in error.value.read().decode()


def test_the_limit_on_pixels_is_a_parameter_of_the_export(logged):
    model = yaml.safe_load((logged / "MLmodel").read_text())
    assert model["flavors"]["python_function"]["config"] == {"max_pixels": 64_000_000}


def test_served_arrays_of_images_keep_their_order(logged, photo, finished_run):
    from affinitynet.serving import _load_pyfunc

    photos = [photo, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    served = _load_pyfunc(str(logged / "data/model.safetensors"))
    table = served.predict(pd.DataFrame({"image": [png(each) for each in photos]}))
    model = affinitynet.load(finished_run.data)
    for content, each in zip(table["mask"], photos, strict=True):
        mask = np.asarray(Image.open(BytesIO(content)))
        np.testing.assert_array_equal(mask, model.predict(each).mask)


# ---- the documentation ---------------------------------------------------------------------


def test_the_examples_of_the_documentation_run(server, with_onnx, photo, tmp_path):
    text = (PROJECT / "docs/models.md").read_text().replace("http://127.0.0.1:5001", server)
    python = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (curl,) = re.findall(r"```\n(\(printf.*?)```", text, re.DOTALL)
    assert len(python) == 5
    (tmp_path / "data").symlink_to(with_onnx.data)
    for name in ("model.safetensors", "model.onnx"):
        (tmp_path / name).symlink_to(exported(with_onnx, name))
    photo.resize((90, 41)).save(tmp_path / "photo.jpg")
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{with_onnx.folder}/mlflow.db",
        "PATH": ACTIVATED,
    }
    one_after_the_other = (
        "import os, sys\n"
        "for number, block in enumerate(sys.argv[1:]):\n"
        "    exec(block, {'__name__': '__main__'})\n"
        "    if 'mask.png' in block: os.rename('mask.png', f'mask{number}.png')\n"
    )
    commands = [[sys.executable, "-c", one_after_the_other, *python]]
    if shutil.which("curl"):
        commands.append(["bash", "-c", curl])
    for command in commands:
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    made = [*tmp_path.glob("mask*.png")]
    assert len(made) == 3 + len(commands)
    for path in made:
        mask = Image.open(path)
        assert mask.size == (90, 41)
        assert mask.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
