"""A Ray cluster of several nodes on this machine: prints its address, and ends when its stdin does.

`python nodes.py FOLDER NUMBER`: a head without CPUs, whose files are below FOLDER, and so many nodes with one
CPU each. A node that is killed is noticed within two seconds.
"""

import sys

from ray.cluster_utils import Cluster

HEALTH_CHECKS = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}

folder, number = sys.argv[1], int(sys.argv[2])
head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": folder, "_system_config": HEALTH_CHECKS}
cluster = Cluster(initialize_head=True, head_node_args=head)
for _ in range(number):
    cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
