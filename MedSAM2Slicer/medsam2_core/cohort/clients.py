"""Clients of Dask: of a scheduler that is there, or of a cluster that is started for a cohort and ends with it.

A cluster's workers are processes of this machine, of others by ssh, or jobs of SLURM.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from medsam2_core.cohort.machine import MOST_DEATHS
from medsam2_core.errors import WorkerError
from medsam2_core.processor import usable_cores

_CONNECT_SECONDS = 30
_WORKER = {"nthreads": 1, "memory_limit": None}  # Dask's own limit would stop workers that read a large image


def distributed() -> Any:
    """The package of Dask that has its scheduler. Raises WorkerError where it is not installed."""
    try:
        import distributed
    except ImportError as error:
        raise WorkerError("Dask is not installed here: run `pip install 'medsam2slicer[cluster]'`.") from error
    return distributed


@contextmanager
def scheduler_client(address: str) -> Iterator[Any]:
    """A client of the scheduler at `address`, which may be the file that it wrote. Raises WorkerError."""
    is_file = address.endswith(".json")
    where = {"scheduler_file": address} if is_file else {"address": address}
    dask = distributed()
    try:
        if is_file:  # which Dask waits for, however long
            Path(address).stat()
        client = dask.Client(**where, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise WorkerError(
            f"No Dask scheduler answers at {address}: start one with `dask scheduler`, and give its address "
            "or its --scheduler-file."
        ) from error
    with client:
        yield client


@contextmanager
def local_client(workers: int) -> Iterator[Any]:
    """A client of that many worker processes of this machine, which share its cores."""
    threads = max(1, usable_cores() // workers)
    with _configured({"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}) as dask:
        options = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": None, "dashboard_address": ":0"}
        with dask.LocalCluster(**options, silence_logs=logging.ERROR) as cluster, dask.Client(cluster) as client:
            yield client


@contextmanager
def ssh_client(hosts: Sequence[str]) -> Iterator[Any]:
    """A client of a worker on each host, with the scheduler on the first. Raises WorkerError where one does not start.

    Hosts are reached as `ssh HOST` reaches them, without a password, and have this Python at the same path.
    """
    with ExitStack() as kept:
        dask = kept.enter_context(_configured({}))
        try:
            cluster = dask.SSHCluster([hosts[0], *hosts], worker_options=_WORKER, remote_python=sys.executable)
            client = dask.Client(kept.enter_context(cluster))
        except Exception as error:  # asyncssh has dozens of its own, and Dask raises Exception itself
            raise WorkerError(
                f"Dask's workers could not be started on {', '.join(hosts)} ({error}): try `ssh {hosts[0]} "
                f"{sys.executable} -m distributed.cli.dask_spec --version`."
            ) from error
        yield kept.enter_context(client)


@contextmanager
def slurm_client(jobs: int) -> Iterator[Any]:
    """A client of up to that many jobs of SLURM, each a worker; those that end early are followed by others."""
    with slurm_cluster() as cluster, distributed().Client(cluster) as client:
        cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)
        yield client


@contextmanager
def slurm_cluster() -> Iterator[Any]:
    """The jobs as dask-jobqueue makes them, none of which runs yet: of Dask's configuration, else 4 cores and 16 GB.

    Raises WorkerError where dask-jobqueue is not installed.
    """
    with _configured({}):
        try:
            from dask_jobqueue.slurm import SLURMCluster
        except ImportError as error:
            raise WorkerError(
                "dask-jobqueue is not installed here: run `pip install 'medsam2slicer[cluster]'`."
            ) from error
        options = {"cores": 1, "processes": 1, **_of_a_job(), "python": sys.executable}
        with SLURMCluster(**options) as cluster:
            yield cluster


def _of_a_job() -> dict[str, Any]:
    """What a job takes: the number of cores, which dask-jobqueue would make as many threads of, and memory."""
    import dask

    def configured(name: str) -> Any:
        return dask.config.get(f"jobqueue.slurm.{name}", None)

    return {
        "job_cpu": configured("job-cpu") or configured("cores") or 4,
        "memory": configured("memory") or "16 GB",
    }


@contextmanager
def _configured(environment: dict[str, str]) -> Iterator[Any]:
    """Dask, so that a case that takes down three workers is given up, and a worker has all cores that it may use."""
    dask = distributed()
    import dask as core

    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"))
    with core.config.set(
        {
            "distributed.scheduler.allowed-failures": MOST_DEATHS - 1,
            "distributed.nanny.pre-spawn-environ": {"OMP_WAIT_POLICY": "PASSIVE", **threads, **environment},
        }
    ):
        yield dask
