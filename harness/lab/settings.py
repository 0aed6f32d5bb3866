"""Set up Dask for a lab, before it is imported: how long a silence may be, and what it logs."""

from __future__ import annotations

import dask.config

WORKER_TTL = "15s"
"""A phone's host that is silent for so long is gone."""


def configure() -> None:
    """Set Dask's options for an agent's or a scheduler's process."""
    dask.config.set(
        {
            "distributed.logging": {"distributed": "critical", "bokeh": "critical", "tornado": "critical"},
            "distributed.scheduler.worker-ttl": WORKER_TTL,
            # A connection for each call to an agent would take longer than the call.
            "distributed.scheduler.reuse-broadcast-comm": True,
            # Ten seconds and less make every connection fail: Dask's own tries need more.
            "distributed.comm.timeouts.connect": "30s",
            "distributed.comm.timeouts.tcp": "30s",
            # What the scheduler remembers of each topic and task.
            "distributed.admin.low-level-log-length": 100,
            # No task computes or stores anything, so that memory and profile need no watching.
            "distributed.worker.profile.enabled": False,
            "distributed.scheduler.work-stealing": False,
            "distributed.scheduler.active-memory-manager.start": False,
            # Each worker would look at itself fifty times a second, and a host's phones all are workers of one process.
            "distributed.admin.tick.interval": "5s",
            "distributed.admin.tick.cycle": "5s",
            "distributed.admin.tick.limit": "60s",
            "distributed.admin.system-monitor.interval": "10s",
            "distributed.worker.memory.target": False,
            "distributed.worker.memory.spill": False,
            "distributed.worker.memory.pause": False,
            "distributed.worker.memory.terminate": False,
        }
    )
