"""A real Ray cluster on this machine for tests. It takes long to start, so most tests share one."""

from __future__ import annotations

import os
import time
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
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}
"""Ray settings with which a killed node is detected after about two seconds instead of 17: it refuses the
connection at once. A node that is only slow has the time of Ray's default, else Ray would declare it dead on
a busy machine and end each process connected to it."""


AS_DEPLOYED = {
    "worker_niceness": int(Settings.model_fields["worker_niceness"].default),
    "num_workers_soft_limit": 16,
}
"""Ray settings as in docs/deploy. With Ray's default niceness of 15, jobs get no CPU beside other processes
at 10; with its default limit of one idle worker for each CPU, it ends warm workers."""


START_TIMES = 10
"""Factor for the 30 s that Ray gives a node for its start. No setting of Ray changes them, and a busy machine
may need more."""


class _UnhurriedTime:
    """The module `time`, for the module of Ray that starts nodes."""

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() / START_TIMES

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def start_cluster(nodes: int = 1, cpus: int = 2, settings: dict[str, int] | None = None) -> Iterator[Any]:
    """A running `ray.cluster_utils.Cluster`. Skips the test if Ray is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray._private import node
    from ray.cluster_utils import Cluster

    root = str(Path(__file__).parents[1])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, before]))
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(node, "time", _UnhurriedTime(), raising=False)
        patch.setenv("RAY_gcs_server_port_wait_time_s", str(30 * START_TIMES))
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
            for each in (*cluster.worker_nodes, cluster.head_node):
                cluster.remove_node(each, allow_graceful=False)  # a graceful removal takes half a minute
            cluster.shutdown()
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
