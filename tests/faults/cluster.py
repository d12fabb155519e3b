"""A Ray cluster of a head without CPUs and two nodes of one, until its input ends.

Prints a line of JSON: the address, and the pids of the two nodes' raylets. For each line of input it
adds a node, and prints the pid of its raylet.
"""

import json
import sys

_BYTES = 80 * 2**20


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster()

    def node() -> int:
        added = cluster.add_node(num_cpus=1, memory=2 * 2**30, object_store_memory=_BYTES)
        return added.all_processes["raylet"][0].process.pid

    cluster.add_node(num_cpus=0, object_store_memory=_BYTES)
    say({"address": cluster.address, "raylets": [node(), node()]})
    for _ in sys.stdin:
        say(node())
    cluster.shutdown()


if __name__ == "__main__":
    main()
