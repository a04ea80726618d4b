import subprocess
import sys

import pytest

from metatoolagent import orchestrators
from metatoolagent.errors import UserError
from metatoolagent.orchestrators import while_wanted


def test_items_go_on_without_an_engine_above():
    assert list(while_wanted([1, 2, 3])) == [1, 2, 3]


def test_items_end_with_the_engine(monkeypatch):
    import psutil

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as engine:
        monkeypatch.setattr(psutil.Process, "parents", lambda self: [psutil.Process(engine.pid)])
        monkeypatch.setattr(orchestrators, "_is_orchestrator", lambda process: True)
        items = while_wanted([1, 2])
        assert next(items) == 1
        engine.kill()
        engine.wait()
        with pytest.raises(UserError, match=rf"I-PAUSED.*\(process {engine.pid}\) is gone") as stopped:
            next(items)
    assert stopped.value.exit_code == 75
