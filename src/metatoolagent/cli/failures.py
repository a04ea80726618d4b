"""How the command line ends when it fails: the error as text or JSON, in the job's log as text too, and its exit code."""

import contextlib
import errno
import json
import os
import re
import sys
from pathlib import Path

from metatoolagent.errors import Exit, UserError, in_json


def stop(error: UserError) -> None:
    """Print an error, to the log that the job was given too, and end the program."""
    print(as_json(error) if in_json() else error, file=sys.stderr)
    if "--log" in sys.argv[:-1]:
        path = Path(sys.argv[sys.argv.index("--log") + 1])
        with contextlib.suppress(OSError):  # what failed may be the very disk of the log
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{error}\n", encoding="utf-8")  # Snakemake shows it to people
    sys.exit(error.exit_code)


def as_json(error: UserError) -> str:
    """Return an error as one line of JSON in ASCII: `exit_code` and the parts that its message has, all texts."""
    labels = ("code", "what", "where", "got", "fix", "kept", "more")
    parts = {label: text for label in labels if (text := getattr(error, label))}
    return json.dumps(parts | {"exit_code": int(error.exit_code)})


def of_library(error: Exception) -> OSError | None:
    """Return the file system's error that polars and safetensors wrap in one of their own, with its number in the text.

    Polars raises an `OSError` without a number too.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return None
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def of_system(error: OSError) -> UserError:
    """Return what to tell the user of an error of the file system."""
    where = str(error.filename or "")
    kept = "earlier artifacts are as they were"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        fix = "free space, then run the same command again"
        fix += "" if where else "; it may be the folder of temporary files, which TMPDIR names, that has none"
        return UserError("E-DISK-FULL", "no space is left", where, fix=fix, kept=kept, exit_code=Exit.IO)
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        what, fix = "a file or folder is not accessible", "check its permissions"
        return UserError("E-READONLY", what, where, fix=fix, kept=kept, exit_code=Exit.CREATE)
    if error.errno in {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}:
        what, fix = f"cannot create a file or folder ({error.strerror})", "move away what stands there, then run it again"
        return UserError("E-CREATE", what, where, fix=fix, kept=kept, exit_code=Exit.CREATE)
    if error.errno == errno.ENOENT:
        what, fix = "a file or folder is not there", "run it in the repository's folder, or correct the path"
        return UserError("E-MISSING", what, where, fix=fix, kept=kept, exit_code=Exit.ARTIFACT)
    if error.errno == errno.ENAMETOOLONG:
        what, fix = "a path is longer than the file system takes", "name a shorter one"
        return UserError("E-PATH", what, where, fix=fix, kept=kept, exit_code=Exit.PARAMS)
    fix = "check the disk, then run it again"
    return UserError("E-IO", error.strerror or str(error), where, fix=fix, kept=kept, exit_code=Exit.IO)
