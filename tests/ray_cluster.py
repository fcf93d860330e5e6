"""A real Ray cluster on this machine for tests; the heaviest thing they start, so one for the whole run."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pinactors.settings import Settings

NOTICED_SOON = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}
"""A killed node is noticed after some two seconds, not seventeen. On a busy machine a slow node is then taken
for dead, and every process connected to it is ended: for tests that kill a node only."""


AS_DEPLOYED = {
    "worker_niceness": int(Settings.model_fields["worker_niceness"].default),
    "num_workers_soft_limit": 16,
}
"""As docs/deploy has it. Ray's own niceness of 15 starves jobs beside other work at 10, and its limit of one
idle worker a CPU ends warm ones."""


@contextmanager
def start_cluster(nodes: int = 1, cpus: int = 2, settings: dict[str, int] | None = None) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster`. Skips the test where Ray is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    root = str(Path(__file__).parents[1])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, before]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": cpus,
                "include_dashboard": False,
                "_system_config": AS_DEPLOYED | (settings or {}),
            },
        )
        try:
            for _ in range(nodes - 1):
                cluster.add_node(num_cpus=cpus)
            yield cluster
        finally:
            for node in (*cluster.worker_nodes, cluster.head_node):
                cluster.remove_node(node, allow_graceful=False)  # gracefully, each takes half a minute
            cluster.shutdown()
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
