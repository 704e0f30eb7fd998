"""Three Ray nodes on hosts of their own, two of which are cut off; run by test_ray.py.

A host is a network namespace, joined to the first one's by a cable (a veth pair) that can be cut.
What is started here is left to end with the namespace of processes that test_ray.py makes.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

os.environ |= {  # a host that does not answer counts as lost after seconds, and not after minutes
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "1500",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
}

import ray

from affinitynet.execution import Execution, launch, map_images
from tests.system.on_two_nodes import items, where

PORT = 6379
ADDRESS = f"10.0.1.1:{PORT}"


def run(*command):
    subprocess.run(command, check=True)


class Host:
    """A network namespace at the end of a cable from this one."""

    def __init__(self, number):
        self.cable, self.address = f"cable{number}", f"10.0.{number}.2"
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "inf"])
        ours = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.process.pid}/ns/net") == ours:
            time.sleep(0.01)
        self.inside = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]
        add = ["ip", "link", "add", self.cable, "type", "veth", "peer", "name", "end"]
        run(*add, "netns", str(self.process.pid))
        run("ip", "address", "add", f"10.0.{number}.1/24", "dev", self.cable)
        run("ip", "link", "set", self.cable, "up")
        run(*self.inside, "ip", "address", "add", f"{self.address}/24", "dev", "end")
        run(*self.inside, "ip", "link", "set", "lo", "up")
        run(*self.inside, "ip", "link", "set", "end", "up")
        run(*self.inside, "ip", "route", "add", "default", "via", f"10.0.{number}.1")

    def cut_off(self):
        run(*self.inside, "ip", "link", "set", "end", "down")


def start_node(*where, address, interface, inside=()):
    """Start a node and wait for it: two that start at once would take the same socket."""
    options = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats"]
    ray_start = [sys.executable, "-m", "ray.scripts.scripts", "start", *options]
    subprocess.run(
        [*inside, *ray_start, f"--node-ip-address={address}", *where],
        # Gloo would ask for the host's name, which is the same for all of them.
        env=os.environ | {"GLOO_SOCKET_IFNAME": interface},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def wait_for_nodes(count):
    """Wait until so many nodes are alive; return the addresses of all, by their ids."""
    limit = time.monotonic() + 300
    while (alive := sum(node["Alive"] for node in ray.nodes())) != count:
        assert time.monotonic() < limit, f"{alive} nodes are alive, not {count}"
        time.sleep(0.2)
    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}


def nodes_of_ranks(start):
    """Train for three epochs: yield each epoch's number and the ids of the nodes."""
    from torch import distributed

    for epoch in range(start[0] + 1, 4):
        ids = [None, None]
        distributed.all_gather_object(ids, ray.get_runtime_context().get_node_id())
        yield epoch, ids
        time.sleep(1)


def check_training(addresses, hosts, execution):
    """The host of a rank is cut off in the first epoch: the last two are trained elsewhere."""
    lost, used = None, []
    for epoch, ids in launch(nodes_of_ranks, (0, []), execution=execution):
        used.append((epoch, {addresses[node] for node in ids}))
        if lost is None:
            lost = next(host for host in hosts if host.address in used[0][1])
            lost.cut_off()
    assert [epoch for epoch, _ in used] == [1, 2, 3], used
    assert lost.address not in used[-1][1], used
    return lost


def check_images(addresses, host, execution):
    """A host is cut off in the middle: its unfinished images are done elsewhere."""
    worked, found = Counter(), []
    for name, (square, node) in map_images(where, items(60), total=60, execution=execution):
        found.append((name, square))
        worked[addresses[node]] += 1
        if len(found) == 10:
            assert worked[host.address], worked
            host.cut_off()
    assert found == [(name, number**2) for name, number in items(60)]
    assert worked[host.address] < 30, worked


def main():
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="utf-8") as forward:
        forward.write("1")  # from host to host
    hosts = [Host(1), Host(2)]
    head = ["--head", f"--port={PORT}", "--include-dashboard=false"]
    start_node(*head, address="10.0.1.1", interface=hosts[0].cable)
    for host in hosts:
        start_node(
            f"--address={ADDRESS}", address=host.address, interface="end", inside=host.inside
        )
    execution = Execution(engine="ray", address=ADDRESS, device="cpu")
    assert [*map_images(abs, [("a", -1)], total=1, execution=execution)] == [("a", 1)]
    addresses = wait_for_nodes(3)
    lost = check_training(addresses, hosts, replace(execution, devices=2))
    wait_for_nodes(2)
    (left,) = (host for host in hosts if host is not lost)
    check_images(addresses, left, execution)


if __name__ == "__main__":
    main()
