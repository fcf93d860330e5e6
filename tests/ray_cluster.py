"""A real Ray cluster on this machine for tests. It takes long to start, so most tests share one."""

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
"""Ray settings with which a killed node is detected after about two seconds instead of 17. Only for tests
that kill a node: on a busy machine Ray then declares a slow node dead and ends each process connected to
it."""


AS_DEPLOYED = {
    "worker_niceness": int(Settings.model_fields["worker_niceness"].default),
    "num_workers_soft_limit": 16,
}
"""Ray settings as in docs/deploy. With Ray's default niceness of 15, jobs get no CPU beside other processes
at 10; with its default limit of one idle worker for each CPU, it ends warm workers."""


@contextmanager
def start_cluster(nodes: int = 1, cpus: int = 2, settings: dict[str, int] | None = None) -> Iterator[Any]:
    """A running `ray.cluster_utils.Cluster`. Skips the test if Ray is not installed."""
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
                cluster.remove_node(node, allow_graceful=False)  # a graceful removal takes half a minute
            cluster.shutdown()
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
