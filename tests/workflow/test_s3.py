"""A remote on S3, as docs/storage.md has it, on a server of moto's: pushed, cloned and pulled, nothing is left to do."""

import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PATIENCE = 60
"""Seconds that the server may take to start on a busy machine."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    """The programs of an environment with DVC's S3 and moto on top of this one.

    It is apart, since aiobotocore, which dvc-s3 needs, asks for its own version of botocore.
    """
    folder = tmp_path_factory.mktemp("s3")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "below.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in (
        ["dvc-s3", "moto[s3]", "flask", "flask-cors"],
        ["--no-deps", "--ignore-installed", f"dvc=={version('dvc')}"],
    ):
        done = subprocess.run([*pip, *packages], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"dvc-s3 and moto cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin"


@pytest.fixture
def endpoint(programs, tmp_path):
    """The address of an S3 server with an empty bucket named `bucket`."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [programs / "python", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "server.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            wait_for_bucket(address, server, tmp_path / "server.log")
            yield address
        finally:
            server.terminate()


def wait_for_bucket(address: str, server: subprocess.Popen, log: Path) -> None:
    """Make the bucket as soon as the server answers."""
    end = time.monotonic() + PATIENCE
    while True:
        assert server.poll() is None and time.monotonic() < end, log.read_text()
        try:
            urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT"), timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


def stored(address: str) -> list[str]:
    """Return the keys in the bucket."""
    with urllib.request.urlopen(f"{address}/bucket?list-type=2", timeout=5) as answer:
        return re.findall(r"<Key>(.*?)</Key>", answer.read().decode())


def test_push_clone_and_pull_through_s3_leave_nothing_to_do(
    finished, shell, programs, endpoint, tmp_path, monkeypatch, environment
):
    monkeypatch.setitem(environment, "PATH", f"{programs}{os.pathsep}{environment['PATH']}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setitem(environment, name, "test")
    copy = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    shell("dvc remote remove beside", copy)
    shell("dvc remote add -d store s3://bucket/metatoolagent", copy)
    shell(f"dvc remote modify store endpointurl {endpoint}", copy)
    shell("dvc push", copy)
    keys = stored(endpoint)
    assert keys and all(key.startswith("metatoolagent/files/md5/") for key in keys)

    shell("git commit -qam remote", copy)
    shell(f"git clone -q {copy} {tmp_path / 'clone'}", tmp_path)
    clone = tmp_path / "clone"
    assert not (clone / "results").exists()
    shell("dvc pull", clone)
    assert "Nothing to be done" in shell("snakemake -n eval_cd", clone).stdout
    predictions = "results/main/mta/predictions.parquet"
    assert (clone / predictions).read_bytes() == (copy / predictions).read_bytes()
