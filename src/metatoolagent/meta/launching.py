"""Several processes of one run on this machine, started by one command, as torchrun would start them.

`torchrun` itself ends a run with its own report of the failure and with exit code 1; here the failed process's one clear error
is all that is printed, and its exit code is the command's. The processes compute on GPUs that no other process holds.
"""

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.meta.processes import TIMEOUT
from metatoolagent.models import gpus

VISIBLE = "CUDA_VISIBLE_DEVICES"


def launch(count: int, arguments: Sequence[str]) -> int:
    """Run this program in several processes to their end; return the exit code, which is that of the first to fail.

    Args:
        count: of processes.
        arguments: of the command line, the same for all.

    Raises:
        UserError: E-GPU if there are GPUs, but fewer than processes, or METATOOLAGENT_GPU names one; those of `gpus.claim`.
    """
    os.environ.update(environment(count))
    # Each process tells its own error; the agent would add how it noticed.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="metatoolagent-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            # One that is told to end finishes its update and saves; Slurm's signal before the time limit is the last of these.
            signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
            shutdown_timeout=int(TIMEOUT.total_seconds()),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "metatoolagent", *arguments)
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            return failure.exitcode if failure.exitcode > 0 else Exit.RETRY
        except SignalException:
            return Exit.RETRY
    return 0


def environment(count: int) -> dict[str, str]:
    """Return what the processes find in their environment: the GPUs that are theirs, and their share of the cores.

    Raises:
        UserError: as `launch`.
    """
    if not torch.cuda.is_available():
        return {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count))}
    seen = torch.cuda.device_count()
    named = os.environ.get(gpus.CHOSEN)
    if count > seen or named:
        chosen = f", of which {gpus.CHOSEN} names one" if named else ""
        what, fix = f"{count} processes need a GPU each, and this one sees {seen}{chosen}", "start no more processes than that"
        raise UserError("E-GPU", what, "option --processes", shown(count), fix, exit_code=Exit.PARAMS)
    identifiers = [str(torch.cuda.get_device_properties(number).uuid) for number in range(seen)]
    claimed = gpus.claim(identifiers, count)
    names = os.environ.get(VISIBLE, "").split(",") if os.environ.get(VISIBLE) else list(map(str, range(seen)))
    return {VISIBLE: ",".join(names[number] for number in claimed)}
