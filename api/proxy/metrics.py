"""Prometheus metrics of a proxy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pinactors.api.proxy.masters.fleet import Master
from pinactors.pipeline.metrics import add_build_info
from pinactors.supervision import Supervision

ADDED_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0)


class ProxyMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        add_build_info(registry)
        self.supervision = Supervision(registry)
        self.added = Histogram(
            "pinactors_proxy_added_seconds",
            "From a packet's arrival from the master to its hand-over to the phone's connection",
            buckets=ADDED_SECONDS,
            registry=registry,
        )
        self.sessions = Counter("pinactors_proxy_sessions", "Ended, by how", ["outcome"], registry=registry)
        self.failovers = Counter(
            "pinactors_proxy_failovers",
            "Sessions taken from a master, by why",
            ["master", "reason"],
            registry=registry,
        )
        self.resumes = Counter(
            "pinactors_proxy_resumes", "Broken connections taken up again", ["master"], registry=registry
        )
        self.refused = Counter("pinactors_proxy_refused", "Uploads refused", ["status"], registry=registry)
        self.joined = Counter("pinactors_proxy_joined", "Uploads that joined another", registry=registry)
        self.journal_failures = Counter(
            "pinactors_proxy_journal_failures", "Sessions without a journal", registry=registry
        )

    def watch(self, masters: list[Master], live: Callable[[], float]) -> None:
        """Adds gauges of the masters and of the live sessions, which are read at each scrape."""
        up = Gauge("pinactors_proxy_master_up", "Open for new work", ["master"], registry=self.registry)
        busy = Gauge(
            "pinactors_proxy_master_sessions", "Sessions relayed", ["master"], registry=self.registry
        )
        for master in masters:
            up.labels(master.name).set_function(partial(_read, master, "available"))
            busy.labels(master.name).set_function(partial(_read, master, "sessions"))
        Gauge("pinactors_proxy_live_sessions", "Under way", registry=self.registry).set_function(live)


def _read(master: Master, name: str) -> float:
    return float(getattr(master, name))
