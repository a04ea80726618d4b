"""A Slurm cluster of one node on this machine, with two pretended GPUs, for the time of a test.

The configuration must stand in /etc/slurm: Snakemake's plugin takes SLURM_CONF from the environment of its job steps. So this
needs root, and a machine without a Slurm of its own. Munge has a socket and a key in the cluster's folder.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
SYSTEM = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf")
GPUS = ("/dev/zero", "/dev/full")
"""Files that stand for the devices of GPUs: any that there are and that hold nothing."""
PATIENCE = 30.0
"""Seconds that the daemons may take to start, and to end."""

WRITTEN_HERE = "# A test's: tests/one_node.py wrote it.\n"
"""First line of a configuration that may be replaced: a killed test leaves its own."""
# cred_expire: a requeued job waits until the credential of its first run is void, two minutes by default.
# config_overrides: the node says it has more cores and memory than this machine, so that the profile runs as it is.
CONFIGURATION = """ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
Prolog={folder}/begin
Epilog={folder}/end
PrologFlags=Alloc
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why there can be no cluster here, or nothing."""
    if absent := [name for name in PROGRAMS if not shutil.which(name)]:
        return f"{', '.join(absent)} not installed (Debian: slurmctld slurmd slurm-client munge)"
    if not find_spec("snakemake_executor_plugin_slurm"):
        return "the extra `slurm` is not installed"
    if os.geteuid():
        return "Slurm's daemons are started by root alone here"
    if any((SYSTEM / name).exists() and not (SYSTEM / name).read_text().startswith(WRITTEN_HERE) for name in FILES):
        return f"{SYSTEM} has a configuration of its own"
    return ""


@contextmanager
def cluster(folder: Path) -> Iterator[Path]:
    """Run the cluster; its files lie in `folder`, which is yielded. The daemons end with the block, however it ends."""
    host = socket.gethostname().partition(".")[0]
    devices = "".join(f"NodeName={host} Name=gpu File={file}\n" for file in GPUS)
    for name, lines in zip(FILES, (CONFIGURATION.format(host=host, folder=folder, gpus=len(GPUS)), devices), strict=True):
        (folder / name).write_text(WRITTEN_HERE + lines)
    for what in ("begin", "end"):
        line = f'echo "{what} $SLURM_JOB_ID $(date +%s.%N) $SLURM_JOB_GPUS" >> {folder}/jobs.txt'
        (folder / what).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{line}\n")
        (folder / what).chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    names = {"key-file": key, **{f"{name}-file": folder / f"munge.{name}" for name in ("pid", "log", "seed")}}
    munge = [f"--{option}={path}" for option, path in names.items()] + [f"--socket={folder / 'munge.socket'}"]
    # --force: munged asks for folders that everyone may enter, and those of a test are not.
    with ExitStack() as stack:
        stack.enter_context(_linked(folder))
        stack.enter_context(_daemon(["munged", "--foreground", "--force", *munge], folder))
        wait_for((folder / "munge.socket").exists, "munged")
        stack.enter_context(_daemon(["slurmctld", "-D"], folder))
        stack.enter_context(_daemon(["slurmd", "-D"], folder))
        wait_for(lambda: "idle" in told("sinfo", "-h", "-o", "%T"), "the node")
        try:
            yield folder
        finally:
            # slurmd's job steps are processes of their own, which would outlive it.
            told("scancel", "--user=root", "--full")
            wait_for(lambda: not told("squeue", "-h").strip(), "the end of all jobs")


@contextmanager
def _linked(folder: Path) -> Iterator[None]:
    SYSTEM.mkdir(exist_ok=True)
    for name in FILES:
        (SYSTEM / name).unlink(missing_ok=True)  # what a killed test left
        (SYSTEM / name).symlink_to(folder / name)
    try:
        yield
    finally:
        for name in FILES:
            (SYSTEM / name).unlink()


@contextmanager
def _daemon(command: list[str], folder: Path) -> Iterator[None]:
    # setpriv: a test that is killed takes the daemons with it.
    bound = ["setpriv", "--pdeathsig", "TERM", *command]
    with (folder / f"{command[0]}.out").open("w") as output, subprocess.Popen(bound, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def told(*command: str) -> str:
    """Return what a command of Slurm printed."""
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=PATIENCE).stdout


def wait_for(condition, what: str, seconds: float = PATIENCE) -> None:
    """Wait until a condition holds; AssertionError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} is not there after {seconds} seconds"
        time.sleep(0.2)


def begun(folder: Path) -> int:
    """Return how often a job has begun on the node; one that was requeued counts again."""
    file = folder / "jobs.txt"
    return sum(line.startswith("begin ") for line in file.read_text().splitlines()) if file.exists() else 0


def finished(folder: Path) -> list[tuple[float, float, frozenset[str]]]:
    """Return start, end (seconds) and GPUs of every job that has ended, as the node's prolog and epilog wrote them down."""
    begun: dict[str, float] = {}
    jobs = []
    for line in (folder / "jobs.txt").read_text().splitlines():
        what, job, when, gpus = line.split(" ")
        if what == "begin":
            begun[job] = float(when)
        else:
            jobs.append((begun[job], float(when), frozenset(filter(None, gpus.split(",")))))
    return jobs


def overlapping(jobs: list[tuple[float, float, frozenset[str]]]) -> list[tuple[frozenset[str], frozenset[str]]]:
    """Return the GPUs of every two jobs that ran at the same time."""
    return [(one[2], other[2]) for one, other in combinations(sorted(jobs), 2) if other[0] < one[1]]
