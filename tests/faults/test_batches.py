"""A batch loses no image and doubles none, whoever is killed.

Only `make test-faults` does this; tests/prediction/test_batch.py kills a worker and the command.
"""

import random

from batch_cluster import kill_while_predicting, two_nodes
from fault_cases import TRIES

EVENTS = [*["worker"] * 10, "node", "command"]

if TRIES:  # minutes

    def test_nothing_is_lost_or_doubled(tmp_path):
        events = random.Random(0).sample(EVENTS, len(EVENTS))
        with two_nodes() as cluster:
            kill_while_predicting(cluster, tmp_path, 2000, 50, events)
