"""A cluster of two Ray nodes, work and harm done to it; run by test_ray.py in a network of its own.

Arguments: a folder for scratch, and a project's folder after a whole run.
"""

import os
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from affinitynet.errors import UserError
from affinitynet.execution import Execution, launch, map_images
from tests.conftest import Project
from tests.system.deaths import count_epochs


def where(number):
    time.sleep(0.05)
    return number * number, ray.get_runtime_context().get_node_id()


def die_once(folder, number):
    if number == 5 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die_always(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def fail_at_three(number):
    if number == 3:
        raise ValueError("three")
    return number


def sum_of_ranks(start):
    import torch

    for epoch in (1, 2):
        total = torch.tensor([torch.distributed.get_rank() + start + epoch])
        torch.distributed.all_reduce(total)
        yield int(total)


def items(count):
    return ((f"image_{number:03d}", number) for number in range(count))


def message_of(results):
    """What the error says that ends the results, and how many there were before."""
    before = 0
    try:
        for _ in results:
            before += 1
    except (UserError, ValueError) as error:
        return type(error).__name__, str(error), before
    raise AssertionError("no error")


def check_faults(cluster, folder):
    execution = Execution(engine="ray", address=cluster.address, device="cpu")
    squares = [(name, number**2) for name, number in items(20)]

    def on_ray(function, count):
        return map_images(function, items(count), total=count, execution=execution)

    assert [*on_ray(partial(die_once, folder), 20)] == squares
    assert (folder / "died").exists()
    kind, message, before = message_of(on_ray(die_always, 6))
    assert (kind, before) == ("UserError", 5), message
    assert "image_002" in message, message
    assert message_of(on_ray(fail_at_three, 6)) == ("ValueError", "three", 3)


def check_training(cluster, folder):
    execution = Execution(engine="ray", address=cluster.address, device="cpu", devices=2)
    assert [*launch(sum_of_ranks, 0, execution=execution)] == [3, 5]
    (deaths := folder / "deaths").touch()
    once = partial(count_epochs, [1], deaths)
    assert [*launch(once, 0, execution=execution)] == [1, 2, 3, 4]
    assert deaths.read_text() == "x"


def check_pipelines(cluster, project):
    """What single images give is the same to the bit, wherever they were done."""
    local = contents(project)
    on_ray = {"execution.engine": "ray", "execution.address": cluster.address}
    project.run(tags=["per_image"], parameters=on_ray | {"execution.workers": 4})
    again = contents(project)
    # training photos by stage, val, the gallery's walks, and both splits in tagged_masks
    assert len(local) == 4 * 12 + 4 + 2 + 3 * 16, len(local)
    assert again.keys() == local.keys()
    differ = [path for path in local if again[path] != local[path]]
    assert not differ, differ
    project.run("affinity_training", parameters=on_ray | {"execution.devices": 2})


def contents(project):
    """Maps, labels and predictions of the newest version: path without the version -> bytes."""
    version = project.record()["version"]
    return {
        str(path.relative_to(project.data)).replace(version, ""): path.read_bytes()
        for layer in ("04_feature", "05_model_input", "07_model_output")
        for path in (project.data / layer).rglob(f"*/{version}/*/*")
    }


def check_loss_of_a_node(cluster, second):
    execution = Execution(engine="ray", address=cluster.address, device="cpu")
    nodes, found = Counter(), []
    for name, (square, node) in map_images(where, items(40), total=40, execution=execution):
        found.append((name, square))
        nodes[node] += 1
        if len(found) == 10:
            assert len(nodes) == 2, "only one node worked"
            cluster.remove_node(second, allow_graceful=False)
    assert found == [(name, number**2) for name, number in items(40)]


def main(scratch, project):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    try:
        check_faults(cluster, scratch)
        check_training(cluster, scratch)
        check_pipelines(cluster, Project(project))
        check_loss_of_a_node(cluster, second)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
