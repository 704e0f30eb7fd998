"""The checks of all parameters before anything runs, without running anything."""

import copy
import json
import math
import sys
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader

from affinitynet.errors import UserError
from affinitynet.runs.command_line import parse_params
from affinitynet.runs.networks import check_networks
from affinitynet.runs.parameters import anchor_paths, check_parameters
from affinitynet.runs.record import flatten
from affinitynet.settings import CONFIG_LOADER_ARGS
from tests.conftest import PROJECT

NAN, INFINITE = math.nan, math.inf

WRONG = {
    "seed": [-1, 2**32, 1.0, True, "abc", None, NAN],
    "resume": ["yes", 1, None],
    "data": [2024, None, ""],
    "voc_root": [2012, True],
    "mask_folder": ["", 1],
    "images": [2024, None],
    "output": [123, None],
    "masks": [123, ""],
    "overlays": [1],
    "confidences": [True],
    "coco": [1.5],
    "backbone": [50, ""],
    "weights": [3, ""],
    "scenes": [3, "many"],
    "scenes.train": [0, -3, 2.5, True, None],
    "scenes.val": [0, "4"],
    "scenes.long_side": [0, 8, None, 100_000],
    "data_set.layout": ["dogs", None],
    "data_set.strict": ["no", 0],
    "data_set.classes": [True, [], [1], [True], ""],
    "data_set.mask_classes": ["", [None], 1],
    "data_set.splits": [{"test": "val"}, {"train": 2012}],
    "data_set.val_share": [0, 1, -0.1, NAN, "0.2"],
    "data_set.separator": ["", 1],
    "execution.engine": ["spark", None],
    "execution.device": ["gpu", "cuda:", 0],
    "execution.workers": [-1, 1.5, True, "all"],
    "execution.devices": [0, -1, None],
    "execution.worker_cpus": [0, -1, NAN],
    "execution.worker_gpus": [-1, INFINITE],
    "execution.address": [6379],
    "cam.network.backbone.name": [None, 50],
    "cam.network.backbone.weights": [1],
    "cam.network.backbone.output_stride": [0, 7, 12, True, None],
    "cam.network.backbone.levels": [[], [0.5], "-1"],
    "cam.network.backbone.mean": [[0.5], [NAN, 0, 0]],
    "cam.network.backbone.std": [[0.5], [0, 1, 1]],
    "cam.network.backbone.options": ["none"],
    "cam.network.weights": [3],
    "cam.network.head.form": ["thesis", None],
    "cam.network.head.dropout": [1, -0.1, True],
    "cam.network.head.square_root": ["yes"],
    "affinity_training.network.head.channels": [[], [0], [64.5], 64],
    "affinity_training.network.head.group_norm": [1],
    "segmentation.network.head.channels": [0, None],
    "segmentation.network.head.dilation": [0, 1.5],
    "segmentation.network.head.dropout": [1.0],
    "cam.inference.long_side": [0, -1, 64.5, "64"],
    "revision.random_walk.alpha": [0, -1, NAN, INFINITE, True],
    "revision.random_walk.beta": [0, -8, "abc", None],
    "revision.random_walk.steps": [-1, 2.5, True, None],
    "revision.random_walk.radius": [0, 1, 5.5, None],
    "revision.random_walk.output_stride": [0, 7, None],
    "revision.random_walk.long_side": [0, True],
    "revision.random_walk.batch_size": [0, None],
    "revision.random_walk.bfloat16": ["maybe", None],
    "revision.confidence": [0, 1, 1.5, None, NAN],
    "revision.long_side": [0, "large"],
    "affinity_labels.alphas.low": [0, -1, None, 5],
    "affinity_labels.alphas.high": [0, INFINITE, 0.5],
    "affinity_labels.long_side": [0],
    "affinity_training.radius": [0, 1, True],
    "cam.thresholds": [[], None, 0.5, [0], [1], [0.5, 1.5], ["0.5"], [NAN]],
    "segmentation.supervision": ["dogs", None, True],
    "search.images": [0, "all"],
    "search.cam.space.thresholds": [[], [1.5]],
    "search.walk.space.alpha": [[], [0], 4],
    "search.walk.space.beta": [[-1], None],
    "search.walk.space.steps": [[1.5], [-1]],
    "search.refine.trials": [-1, None],
    "search.refine.space.confidence": [{"low": 0.9, "high": 0.5}, {"low": 0, "high": 0.5}, "x"],
    "search.refine.space.crf.srgb": [{"low": 0, "high": 3}, {"low": 3}, [0], []],
    "search.refine.space.crf.compat_gaussian": [{"low": 0, "high": 3, "log": True}, [-1]],
    "reporting.gallery.sample.train": [-1, None],
    "reporting.gallery.worst.val": [-1, 1.5],
    "reporting.gallery.walks": [-1],
    "reporting.gallery.steps": [[-1], [0.5], None, 4],
    "reporting.gallery.long_side": [0],
    "export.registered_model": ["", 1],
    "export.onnx.output_stride": [7, True],
    "export.max_pixels": [0, -1, 1.5, None],
    "export.onnx.check_side": [0, None],
    "export.onnx.tolerance": [0, -1, NAN],
    "labels_export.layout": ["yolo"],
    "labels_export.photos": ["move", True],
    "labels_export.quality": [0, 101, 95.5],
    "labels_export.segments": ["boxes"],
    "submission.list": ["", 2012],
    "submission.competition": ["comp7"],
    "inference.scales": [[], [[1.0]], [[1, 7]], [["1", 8]], 2],
    "inference.flip": ["yes", 1],
    "inference.cell": [0],
    "inference.batch_size": [0, 2.5],
    "inference.long_side": [0],
    "inference.crf": [{"srgb": 0}, "on", True],
    "heads": ["thesis", 1],
    "classes": [1, True, [], ""],
    "tags": [1],
}
for stage in ("cam", "affinity_training", "segmentation"):
    WRONG |= {
        f"{stage}.training.epochs": [-1, 1.5, True, "two", None],
        f"{stage}.training.batch_size": [0, -1, 2.5, True],
        f"{stage}.training.learning_rate": [-0.1, NAN, INFINITE, True, "1e-3"],
        f"{stage}.training.head_learning_rate": [-0.1, NAN],
        f"{stage}.training.bias_rate": [-1],
        f"{stage}.training.momentum": [-0.1, 1, 1.5, NAN],
        f"{stage}.training.weight_decay": [-1, NAN, None],
        f"{stage}.training.power": [-1, INFINITE],
        f"{stage}.training.warmup": [-0.1, 1, True],
        f"{stage}.training.frozen": ["backbone", [1], None],
        f"{stage}.training.fixed_norms": [1, "yes"],
        f"{stage}.training.precision": ["float16", 32, None],
        f"{stage}.training.workers": [-1, 0.5],
        f"{stage}.training.cache_megabytes": [-1, NAN],
        f"{stage}.augmentation.crop": [0, -1, 64.5],
        f"{stage}.augmentation.long_side": [[72, 56], [0, 72], [64], 64, [64, 72, 80]],
        f"{stage}.augmentation.flip": [2, -0.5, NAN, True],
        f"{stage}.augmentation.jitter": [-0.1, NAN],
        f"{stage}.augmentation.hue": [0.6, -0.1],
    }
for block in ("affinity_labels.crf", "revision.crf"):
    WRONG |= {
        f"{block}.iterations": [0, -1, 2.5, True],
        f"{block}.sxy_gaussian": [0, -1, NAN],
        f"{block}.compat_gaussian": [-1, INFINITE],
        f"{block}.sxy_bilateral": [0, "wide"],
        f"{block}.srgb": [0, None],
        f"{block}.compat_bilateral": [-1],
        f"{block}.reference_side": [0, NAN],
    }
for block in ("cam.inference", "segmentation.inference"):
    WRONG |= {
        f"{block}.scales": [
            None,
            [],
            [[0, 8]],
            [[-1, 8]],
            [["1", 8]],
            [[1.0, 7]],
            [1.0],
            [[NAN, 8]],
        ],
        f"{block}.flip": [1, None, "yes"],
        f"{block}.cell": [0, None, 2.5],
        f"{block}.batch_size": [0, None],
        f"{block}.bfloat16": [1, None],
    }


@pytest.fixture(scope="module")
def parameters():
    """Those of the tests' environment."""
    return OmegaConfigLoader(str(PROJECT / "conf"), env="test", **CONFIG_LOADER_ARGS)["parameters"]


def changed(parameters, name, value):
    parameters = copy.deepcopy(parameters)
    *path, last = name.split(".")
    block = parameters
    for key in path:
        block[key] = block.get(key) or {}
        block = block[key]
    block[last] = value
    return parameters


@pytest.mark.parametrize("env", ["base", "coco", "tagged", "test", "voc", "voc_cpu"])
def test_the_parameters_of_each_environment_are_right(env):
    loader = OmegaConfigLoader(str(PROJECT / "conf"), env=env, **CONFIG_LOADER_ARGS)
    assert check_parameters(loader["parameters"]).seed == 0


@pytest.mark.parametrize("env", ["base", "coco", "tagged", "voc", "voc_cpu"])
def test_one_parameter_sets_the_working_size_of_all_stages(env):
    given = {"runtime_params": {"working_size": 400}}
    loader = OmegaConfigLoader(str(PROJECT / "conf"), env=env, **given, **CONFIG_LOADER_ARGS)
    found = check_parameters(loader["parameters"])
    assert {
        found.cam.inference.long_side,
        found.affinity_labels.features.long_side,
        found.affinity_labels.long_side,
        found.revision.random_walk.long_side,
        found.revision.long_side,
        found.segmentation.inference.long_side,
        found.inference.long_side,
    } == {400}
    if env not in ("coco", "voc"):  # these train on the release's sizes
        trained = (found.cam, found.affinity_training, found.segmentation)
        assert all(300 <= stage.augmentation.crop <= 400 for stage in trained)
        assert all(stage.augmentation.long_side[1] >= 500 for stage in trained)


@pytest.mark.parametrize("value", ["large", 0, 31, -256, 2.5])
def test_a_working_size_that_is_none_is_named(value):
    given = {"runtime_params": {"working_size": value}}
    loader = OmegaConfigLoader(str(PROJECT / "conf"), env="tagged", **given, **CONFIG_LOADER_ARGS)
    with pytest.raises(UserError, match=f"\n  working_size is {value!r}; it must be") as error:
        check_parameters(loader["parameters"])
    assert len(str(error.value).splitlines()) == 3  # nothing of what follows from it


def test_no_working_size_is_named_where_crops_follow_it():
    given = {"runtime_params": {"working_size": None}}
    loader = OmegaConfigLoader(str(PROJECT / "conf"), env="tagged", **given, **CONFIG_LOADER_ARGS)
    with pytest.raises(UserError, match=r"working_size is null, .* give a number of pixels\.$"):
        check_parameters(loader["parameters"])


@pytest.mark.parametrize(("name", "values"), WRONG.items(), ids=WRONG)
def test_wrong_values_are_named(parameters, name, values):
    """Each message has the parameter, or its block, and what it must be."""
    for value in values:
        with pytest.raises(UserError) as error:
            check_parameters(changed(parameters, name, value))
        first = str(error.value).splitlines()[1]
        assert name in first or name.rpartition(".")[0] in first, value
        assert (
            "it must " in first or "; give " in first or "; swap " in first or "is missing" in first
        ), first


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("affinity_training.augmentation.flip", 2, "flip is 2; it must be less than or equal to 1"),
        ("revision.random_walk.output_stride", 7, "output_stride is 7; it must be 8, 16 or 32"),
        ("segmentation.inference.scales", None, "segmentation.inference.scales is null; it must"),
        ("cam.inference.scales", [[1, 8], [2, 7]], "cam.inference.scales[1][1] is 7; it must be 8"),
        ("seed", 2**32, "seed is 4294967296; it must be less than 4294967296"),
        ("seed", True, "seed is true; it must be a whole number"),
        ("images", 2024, "images is 2024; it must be text; write it in quotes"),
        ("classes", True, "classes is true; it must be a list or text; write it in quotes"),
        ("cam.training.momentum", NAN, "cam.training.momentum is nan; it must be a finite number"),
        ("scenes", 3, "scenes is 3; it must be a block of train, val, long_side"),
        (
            "cam.training.wormup",
            0.1,
            "wormup: no such parameter; did you mean cam.training.warmup?",
        ),
        ("search.refine.space.crf.rgb", [1], "did you mean search.refine.space.crf.srgb?"),
        ("inference.crf", {"srbg": 1}, "inference.crf.srbg: no such parameter; did you mean infe"),
        ("xyz", 1, "xyz: no such parameter; there are seed, resume, "),
    ],
)
def test_the_message_of_a_wrong_parameter(parameters, name, value, message):
    with pytest.raises(UserError) as error:
        check_parameters(changed(parameters, name, value))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 3  # one line for each


def test_all_wrong_parameters_are_named_at_once(parameters):
    wrong = changed(changed(parameters, "seed", -1), "cam.training.epochs", -1)
    with pytest.raises(UserError, match=r"seed is -1[^\n]*\n  cam.training.epochs is -1"):
        check_parameters(wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 2**32 - 1),
        ("revision.long_side", None),
        ("revision.random_walk.steps", 0),
        ("revision.random_walk.beta", 3),
        ("cam.training.learning_rate", 0),
        ("cam.training.epochs", 0),
        ("cam.augmentation.flip", 1),
        ("cam.augmentation.long_side", None),
        ("segmentation.inference.crf", {"srgb": 9}),
        ("inference", {"scales": [[1, 16]], "flip": False}),
        ("data_set.classes", "cat;dog"),
        ("search.refine.space.crf.iterations", [2, 5]),
        ("search.refine.space.confidence", None),
        ("affinity_labels.alphas.low", 4),
    ],
)
def test_values_at_the_edge_are_taken(parameters, name, value):
    check_parameters(changed(parameters, name, value))


def test_relative_paths_begin_at_the_projects_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    given = {
        "data": "s3://bucket/data",
        "images": "-",
        "masks": "~no-such-user",
        "tags": "~/tags.csv",
        "mask_folder": "masks",
        "mlflow_artifacts": "artifacts",
        "cam": {
            "network": {"weights": "a/res38_cls.pth", "backbone": {"weights": "b.safetensors"}},
            "training": {"frozen": ["backbone"]},
        },
        "data_set": {"masks": None, "splits": {"train": "train"}},
        "affinity_training": {"network": {"backbone": {"weights": "efficientnet_lite0"}}},
        "xyz": "unknown",
    }
    assert anchor_paths(given, Path("/project")) == {
        "data": "s3://bucket/data",
        "images": "-",
        "masks": "/project/~no-such-user",
        "tags": "/home/me/tags.csv",
        "mask_folder": "masks",
        "mlflow_artifacts": "/project/artifacts",
        "cam": {
            "network": {
                "weights": "/project/a/res38_cls.pth",
                "backbone": {"weights": "/project/b.safetensors"},
            },
            "training": {"frozen": ["backbone"]},
        },
        "data_set": {"masks": None, "splits": {"train": "train"}},
        "affinity_training": {"network": {"backbone": {"weights": "efficientnet_lite0"}}},
        "xyz": "unknown",
    }


@pytest.mark.parametrize("name", ["a?b.db", "a%20b.db"])
def test_a_database_whose_path_a_url_would_change_is_refused(parameters, name):
    with pytest.raises(UserError, match=r"mlflow_db is '.*'; it must be a path without % and \?"):
        check_parameters(changed(parameters, "mlflow_db", f"/tmp/{name}"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("images=2024,seed=1", {"images": "2024", "seed": 1}),
        ("masks=0123", {"masks": "0123"}),
        ("images=1e5", {"images": "1e5"}),
        ("classes=yes", {"classes": "yes"}),
        ("classes=1", {"classes": "1"}),
        ("classes=[yes, 1, 'a, b']", {"classes": ["yes", "1", "a, b"]}),
        ("images=a #1, b,seed=3", {"images": "a #1, b", "seed": 3}),
        ("tags=*[1]%?&.csv", {"tags": "*[1]%?&.csv"}),
        ("tags=a=b.csv", {"tags": "a=b.csv"}),
        ("images='a,b=c',seed=3", {"images": "a,b=c", "seed": 3}),
        ("""images="it's",seed=3""", {"images": "it's", "seed": 3}),
        ("images=-", {"images": "-"}),
        ("images=", {"images": ""}),
        ("overlays=null,images=null", {"overlays": None, "images": "null"}),
        (
            "cam.thresholds=[0.1, 0.2],cam.training.frozen=[on]",
            {"cam": {"thresholds": [0.1, 0.2], "training": {"frozen": ["on"]}}},
        ),
        (
            "segmentation.inference.scales=[[1,8],[2,16]]",
            {"segmentation": {"inference": {"scales": [[1, 8], [2, 16]]}}},
        ),
        (
            "revision.random_walk.alpha=4,revision.random_walk.beta=auto,inference.bfloat16=false",
            {
                "revision": {"random_walk": {"alpha": 4, "beta": "auto"}},
                "inference": {"bfloat16": False},
            },
        ),
        ("cam.training.learning_rate=1e-3", {"cam": {"training": {"learning_rate": 1e-3}}}),
        ("data_set.splits.train=2012", {"data_set": {"splits": {"train": "2012"}}}),
        (
            "scenes={train: 2, val: 1, long_side: 64}",
            {"scenes": {"train": 2, "val": 1, "long_side": 64}},
        ),
        ("scenes=null,resume=true", {"scenes": None, "resume": True}),
        ("my_own=[1, yes]", {"my_own": [1, True]}),
    ],
)
def test_texts_arrive_as_they_are_typed(text, values):
    assert parse_params(text) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", r"--params seed: give <name>=<value>"),
        ("cam.thresholds=[0.1", r"--params cam.thresholds=\[0.1: this is no YAML"),
        ("images=/a${b}", r"--params images=/a\${b}: \${ would stand"),
        ("cam=1,cam.thresholds=[1]", r"cam has a value of its own"),
    ],
)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(UserError, match=message):
        parse_params(text)


STAGES = ("cam", "affinity_training", "segmentation")


def test_a_run_that_trains_nothing_tries_no_network(parameters, monkeypatch):
    monkeypatch.setitem(sys.modules, "affinitynet.networks.checkpoint", None)  # not to be imported
    check_networks(["scenes.render", "cam.infer"], check_parameters(parameters))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segmentation.training.frozen": ["backbon"]}, "'backbon'; did you mean backbone?"),
        ({"cam.training.frozen": ["b2"]}, "cam.training.frozen: the network has no part 'b2'"),
        ({"cam.network.backbone.name": "resnet9"}, "cam.network: backbone: timm has no network"),
        ({"cam.network.backbone.options": {"foo": 1}}, "cam.network: .*argument 'foo'"),
        ({"segmentation.network.backbone.name": "resnet18"}, "segmentation.network.backbone takes"),
        ({"affinity_training.network.backbone.levels": [-9]}, "levels are .-9., but test_resnet"),
        ({"affinity_training.network.head.channels": [4]}, "1 channels for 4 levels"),
        ({"backbone": "resnet9"}, "backbone=test_resnet: its weights are not known .*weights=null"),
        ({"affinity_training.network.weights": "/no/file"}, "no file '/no/file'"),
        (
            {"segmentation.augmentation.crop": 8, "segmentation.training.batch_size": 1},
            "segmentation.augmentation.crop is 8, .batch_size 1: Expected more than 1 value",
        ),
        (  # which has stride 8 only
            {f"{stage}.network.backbone.name": "resnet38" for stage in STAGES}
            | {f"{stage}.network.backbone.output_stride": 8 for stage in STAGES}
            | {"affinity_training.network.head.channels": [4, 4, 4, 4]}
            | {"cam.inference.scales": [[1.0, 8], [2.0, 16]]},
            r"cam.inference.scales\[1\]\[1\] is 16: backbone: resnet38 has output stride 8, not 16",
        ),
    ],
)
def test_networks_are_tried_before_the_first_node(parameters, changes, message):
    for name, value in changes.items():
        parameters = changed(parameters, name, value)
    nodes = [f"{stage}.initialise" for stage in STAGES]
    with pytest.raises(UserError, match=message):
        check_networks(nodes, check_parameters(parameters))


def test_every_value_of_the_configuration_may_be_given_on_the_command_line(parameters):
    """`auto` beside a number, `null` beside a path, …: each arrives as the files have it."""
    plain = {
        name: value
        for name, value in flatten(parameters).items()
        if isinstance(value, bool | int | float) or value == "auto"
    }
    assert len(plain) > 50
    for name, value in plain.items():
        assert flatten(parse_params(f"{name}={json.dumps(value)}".replace('"', ""))) == {
            name: value
        }
