"""What is asked of a cluster that it cannot give; run by test_ray.py in a network of its own.

Ray takes a node's word for its GPUs: no process that reserves one would find it here.
"""

import ray
from ray.cluster_utils import Cluster

from affinitynet.execution import Execution, launch, map_images
from tests.system.on_two_nodes import items, message_of, sum_of_ranks, where

GPUS = "1 node(s) of 1 CPUs and 2 GPUs, 2 node(s) of 2 CPUs and 0 GPUs"


def check_map(cluster, words, networks=False, **parameters):
    execution = Execution(engine="ray", address=cluster.address, **parameters)
    done = map_images(where, items(2), total=2, execution=execution, networks=networks)
    check(done, words)


def check_launch(cluster, words, **parameters):
    execution = Execution(engine="ray", address=cluster.address, **parameters)
    check(launch(sum_of_ranks, 0, execution=execution), words)


def check(results, words):
    """Check that they end with an error of such words; with their result if there are none."""
    if not words:
        assert len([*results]) == 2
        return
    kind, message, before = message_of(results)
    assert (kind, before) == ("UserError", 0), message
    for part in words:
        assert part in message, message


def main():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    third = cluster.add_node(num_cpus=1, num_gpus=2)
    try:
        room = "room for {} processes of {} CPUs and {} GPUs, but {} must run at once"
        check_map(cluster, [GPUS, room.format(0, 3, 0, 1)], worker_cpus=3)  # of 5 CPUs in all
        check_map(cluster, [], worker_cpus=2)
        check_launch(cluster, [room.format(2, 2, 0, 3)], devices=3, worker_cpus=2, device="cpu")
        check_launch(cluster, [room.format(0, 2, 1, 2)], devices=2, worker_cpus=2, worker_gpus=1)
        check_launch(cluster, [room.format(1, 1, 1, 2)], devices=2, worker_gpus=1)

        crowd = [GPUS, "execution.worker_gpus=1", "execution.device=cpu"]
        check_launch(cluster, crowd, devices=2)
        check_map(cluster, crowd, networks=True)
        check_map(cluster, [], networks=True, device="cpu")
        check_map(cluster, [], networks=True, worker_gpus=1)
        check_map(cluster, [])
        cluster.remove_node(third)
        check_map(cluster, [], networks=True)  # no GPU is left to crowd on
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
