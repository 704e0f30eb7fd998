"""A Ray cluster of two nodes, each a set of processes of its own, that its owner may do harm to."""

import os
import subprocess
import sys
from contextlib import contextmanager

import ray
from ray.cluster_utils import Cluster


@contextmanager
def two_nodes():
    """Start a head and a second node of one core each; yield the cluster and its second node."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        yield cluster, cluster.add_node(num_cpus=1)
    finally:
        ray.shutdown()
        cluster.shutdown()


def run_in_a_network_of_its_own(script, *arguments):
    """Run a Python script where nothing but this machine can be reached, and from nowhere else."""
    command = 'ip link set lo up && exec "$@"'
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", command, "-"]
        + [sys.executable, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()},
    )
