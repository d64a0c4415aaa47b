"""How busy the machine is while a run goes on, under the names that MLflow's page of system metrics shows."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psutil

INTERVAL = 10.0  # seconds between two samples

_MEBIBYTE = 1 << 20


class SystemMetrics:
    """Samples processor, memory and network until it is stopped.

    Args:
        send: called with each sample, by name, in a thread of its own.
        interval: seconds between two samples.
    """

    def __init__(self, send: Callable[[dict[str, float]], None], interval: float = INTERVAL) -> None:
        self._send = send
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)

    def start(self) -> None:
        """Begins; the first sample comes after the first interval."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; nothing is sent afterwards."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        psutil.cpu_percent()  # what comes next is meant since now
        before = psutil.net_io_counters()
        while not self._stopped.wait(self._interval):
            memory, network = psutil.virtual_memory(), psutil.net_io_counters()
            sample = {
                "system/cpu_utilization_percentage": psutil.cpu_percent(),
                "system/system_memory_usage_megabytes": memory.used / _MEBIBYTE,
                "system/system_memory_usage_percentage": memory.percent,
                "system/process_memory_usage_megabytes": psutil.Process().memory_info().rss / _MEBIBYTE,
            }
            if before and network:  # a machine may have no network
                received, sent = (
                    network.bytes_recv - before.bytes_recv,
                    network.bytes_sent - before.bytes_sent,
                )
                sample["system/network_receive_megabytes"] = received / _MEBIBYTE
                sample["system/network_transmit_megabytes"] = sent / _MEBIBYTE
            self._send(sample)
