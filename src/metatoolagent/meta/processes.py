"""The processes of one run, which torchrun started: who they are, what they tell each other, and how they end.

`torchrun --nproc-per-node N -m metatoolagent train ...` starts them, on one machine or on several that share the
work folder. Process 0 leads: it alone holds the run's lock, writes checkpoints and publishes.

Every exchange begins with one of small objects, by which a process that met an error tells the others: they end
with it, and the user reads one message. A process that is killed closes its connections, which the others notice.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch
import torch.distributed as dist
from torch import Tensor

from metatoolagent.artifacts import remove_stale_temporaries
from metatoolagent.errors import Exit, UserError, shown
from metatoolagent.meta.supervision import Supervisor, locked
from metatoolagent.models import backbone
from metatoolagent.orchestrators import is_gone

TIMEOUT = timedelta(minutes=10)
"""For a machine that vanishes; it must be longer than the wait for the lock and than the longest meta-task."""
NOTICING = 2.0
"""Seconds in which a process whose connections broke must be gone to be named as the cause."""
T = TypeVar("T")


@dataclass(frozen=True)
class Message:
    """What a process brings to an exchange: a value, or the exit code of the error that it ends with."""

    value: Any
    exit_code: int | None


class Processes:
    """The processes of a run, seen from one of them; one that is alone exchanges nothing."""

    def __init__(self, rank: int, size: int, work: Path) -> None:
        """Meet the others.

        Args:
            rank: of this process, from 0.
            size: number of processes.
            work: folder that all of them see.
        """
        self.rank, self.size, self.work = rank, size, work
        self.over = self.broken = False
        self.members: list[tuple[str, int]] = []
        if self.leads:
            remove_stale_temporaries(work / "lost")
            self._mark(os.getpid()).unlink(missing_ok=True)
        self.watched: dict[int, psutil.Process] = {}
        self.members = self.gather((socket.gethostname(), os.getpid()))
        # Found now, so that a later process with the same number is not taken for a member.
        self.watched = {rank: psutil.Process(pid) for rank, (host, pid) in enumerate(self.members) if host == self.host}

    @property
    def leads(self) -> bool:
        """Whether this process locks, saves, publishes and reports."""
        return self.rank == 0

    @property
    def host(self) -> str:
        """The name of this machine."""
        return self.members[self.rank][0]

    def gather(self, own: T) -> list[T]:
        """Return what each process brings, by rank.

        Raises:
            UserError: E-RANK if a process is gone and this one is the first to notice.
            SystemExit: if another process ends with an error, which it tells the user itself.
        """
        if self.size == 1:
            return [own]
        messages = self._gather(Message(own, None))
        if failed := [message.exit_code for message in messages if message.exit_code is not None]:
            self.over = True
            raise SystemExit(failed[0])
        return [message.value for message in messages]

    def of_leader(self, own: T) -> T:
        """Return what the leader brings."""
        if self.size == 1:
            return own
        self.gather(None)
        box = [own]
        with self._connected():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather_tensors(self, own: Tensor) -> list[Tensor]:
        """Return the tensor of each process, by rank; all have the same shape, and `gather` came before."""
        everyone = [torch.empty_like(own) for _ in range(self.size)]
        with self._connected():
            dist.all_gather(everyone, own)
        return everyone

    def tell(self, exit_code: int) -> None:
        """Let the others end with this process's error, unless one before it ended with an error too.

        Raises:
            SystemExit: if a process of a lower rank tells the user already.
        """
        if self.over or self.size == 1:
            return
        try:
            messages = self._gather(Message(None, exit_code))
        except (UserError, SystemExit):
            return
        self.over = True
        if earlier := [message.exit_code for message in messages[: self.rank] if message.exit_code is not None]:
            raise SystemExit(earlier[0])

    def _gather(self, own: Message) -> list[Message]:
        messages: list[Any] = [None] * self.size
        with self._connected():
            dist.all_gather_object(messages, own)
        return messages

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            self.over = self.broken = True
            raise self._loss(error) from None

    def _loss(self, error: RuntimeError) -> UserError:
        """Return what to tell the user of broken connections; the first to notice tells, the others end in silence."""
        deadline = time.monotonic() + NOTICING
        while not (gone := self._gone()) and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            self._mark(self.members[0][1] if self.members else 0).touch(exist_ok=False)
        except FileExistsError:
            raise SystemExit(Exit.RETRY) from None
        names = ", ".join(f"rank {rank} (process {self.members[rank][1]} on {self.members[rank][0]})" for rank in gone)
        return UserError(
            "E-RANK",
            f"{names} of {self.size} is gone" if gone else f"a rank of {self.size} does not answer",
            got=shown(str(error).splitlines()[0]),
            fix="run the same command to go on from the last checkpoint",
            kept="the checkpoints are as they were",
            exit_code=Exit.RETRY,
        )

    def _gone(self) -> list[int]:
        return [rank for rank, process in self.watched.items() if is_gone(process)]

    def _mark(self, leader: int) -> Path:
        return self.work / f".lost.tmp.{leader}"


def launched() -> bool:
    """Return whether torchrun or `launch` started this process; a site may set one of the two variables for its own ends."""
    return {"RANK", "WORLD_SIZE"} <= os.environ.keys()


@contextmanager
def processes(work: Path) -> Iterator[Processes]:
    """Yield the processes that torchrun started; this one alone if it did not.

    Args:
        work: folder that all processes see.

    Raises:
        UserError: E-RANK (exit code 75) if a process is gone; E-GPU if there are fewer GPUs than processes here; those of
            `backbone.device`.
    """
    size = int(os.environ["WORLD_SIZE"]) if launched() else 1
    if size == 1:
        backbone.device()  # where it waits for a GPU, it has locked nothing yet and can be ended
        yield Processes(0, 1, work)
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        _choose_gpu()
    # Objects go over gloo on a GPU too: it notices a dead process, where NCCL waits for its timeout.
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        what, got = f"the {size} processes did not meet", str(error).splitlines()[0]
        raise UserError("E-RANK", what, got=got, fix="start them all with torchrun", exit_code=Exit.RETRY) from None
    group = Processes(int(os.environ["RANK"]), size, work)
    try:
        yield group
    except UserError as error:
        group.tell(error.exit_code)
        raise
    except OSError:
        group.tell(Exit.IO)
        raise
    finally:
        # Where a process is gone, taking the connections down in order could wait for it.
        if not group.broken:
            dist.destroy_process_group()


def _choose_gpu() -> None:
    device = backbone.device()
    if device.index >= torch.cuda.device_count():
        raise UserError(
            "E-GPU",
            f"local rank {device.index} has no GPU, there are {torch.cuda.device_count()} on this machine",
            fix="lower torchrun's --nproc-per-node",
            exit_code=Exit.PARAMS,
        )
    torch.cuda.set_device(device)


@contextmanager
def supervised(folder: Path, group: Processes) -> Iterator[Supervisor]:
    """Watch over a run, whose lock the leader holds.

    Raises:
        UserError: as `supervision.locked`.
    """
    if group.leads:
        with locked(folder, alone=group.size == 1) as supervisor:
            group.gather(None)
            yield supervisor
    else:
        group.gather(None)
        yield Supervisor(folder / "lock")
