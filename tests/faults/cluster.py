"""A Ray cluster of a head without CPUs and two nodes of one, until its input ends.

Prints one line of JSON: the address, and the pids of the two nodes' raylets.
"""

import json
import sys

_BYTES = 80 * 2**20


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.add_node(num_cpus=0, object_store_memory=_BYTES)
    nodes = [
        cluster.add_node(num_cpus=1, memory=2 * 2**30, object_store_memory=_BYTES) for _ in range(2)
    ]
    pids = [node.all_processes["raylet"][0].process.pid for node in nodes]
    sys.stdout.write(json.dumps({"address": cluster.address, "raylets": pids}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
