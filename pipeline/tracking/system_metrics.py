"""How busy the machine is while a run goes on, under the names that MLflow's page of system metrics shows."""

from __future__ import annotations

import time

import psutil

INTERVAL = 10.0  # seconds between two samples

_MEBIBYTE = 1 << 20


class SystemMetrics:
    """Samples processor, memory and network."""

    def __init__(self) -> None:
        self.step = 0
        """Number of the most recent sample."""
        self._before = psutil.net_io_counters()
        self._sampled = time.monotonic()
        psutil.cpu_percent()  # what comes next is meant since now

    def sample(self) -> dict[str, float]:
        """Measures, where the most recent sample is old enough; nothing otherwise."""
        if time.monotonic() - self._sampled < INTERVAL:
            return {}
        self.step, self._sampled = self.step + 1, time.monotonic()
        memory, network = psutil.virtual_memory(), psutil.net_io_counters()
        sample = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MEBIBYTE,
            "system_memory_usage_percentage": memory.percent,
            "process_memory_usage_megabytes": psutil.Process().memory_info().rss / _MEBIBYTE,
        }
        if self._before and network:  # a machine may have no network
            received, sent = (network.bytes_recv, network.bytes_sent)
            sample["network_receive_megabytes"] = (received - self._before.bytes_recv) / _MEBIBYTE
            sample["network_transmit_megabytes"] = (sent - self._before.bytes_sent) / _MEBIBYTE
        return {f"system/{name}": value for name, value in sample.items()}
