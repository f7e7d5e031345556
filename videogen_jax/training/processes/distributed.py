"""A run on several processes, one per host or GPU, with JAX's distributed runtime."""

import dataclasses

import jax

from videogen_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class DistributedConfig:
    """How the processes of a run find each other; by default a process runs alone.

    It is not part of a run's configuration: a run may continue on another number of processes.
    """

    initialize: bool = False  # detect the cluster: TPU pod, SLURM, Open MPI, Kubernetes
    coordinator_address: str = ""  # without a cluster: host:port of process 0
    num_processes: int | None = None  # without a cluster: number of processes
    process_id: int | None = None  # without a cluster: number of this process, from 0
    heartbeat_timeout_seconds: int = 50  # a process lost for this long ends the others

    def __post_init__(self):
        count, number = self.num_processes, self.process_id
        if self.coordinator_address and (count is None or number is None):
            raise UserError(
                "distributed.coordinator_address needs distributed.num_processes and "
                "distributed.process_id"
            )
        if not self.coordinator_address and (count, number) != (None, None):
            raise UserError(
                "distributed.num_processes and distributed.process_id need "
                "distributed.coordinator_address, the host:port of process 0"
            )
        if self.initialize and self.coordinator_address:
            raise UserError(
                "distributed.initialize detects what distributed.coordinator_address sets: use "
                "only one of them"
            )
        if count is not None and number is not None and not 0 <= number < count:
            raise UserError(
                f"distributed.process_id is {number}, expected 0 .. {count} - 1 "
                "(distributed.num_processes)"
            )
        if self.heartbeat_timeout_seconds < 1:
            raise UserError(
                f"distributed.heartbeat_timeout_seconds is {self.heartbeat_timeout_seconds}, "
                "expected 1 or more"
            )


def connect(config: DistributedConfig) -> None:
    """Joins the other processes; call it before anything else uses JAX's devices.

    Raises:
        UserError: no cluster was detected, or the other processes do not answer.
    """
    if not (config.initialize or config.coordinator_address):
        return
    try:
        if config.initialize:
            jax.distributed.initialize(heartbeat_timeout_seconds=config.heartbeat_timeout_seconds)
        else:
            jax.distributed.initialize(
                config.coordinator_address,
                num_processes=config.num_processes,
                process_id=config.process_id,
                cluster_detection_method="deactivate",
                heartbeat_timeout_seconds=config.heartbeat_timeout_seconds,
            )
    except (RuntimeError, ValueError) as error:
        where = config.coordinator_address or "the cluster (distributed.initialize)"
        raise UserError(f"cannot start the distributed run at {where}: {error}") from error


def is_main() -> bool:
    """Returns True in the one process that writes logs, samples and `config.json`."""
    return jax.process_index() == 0
