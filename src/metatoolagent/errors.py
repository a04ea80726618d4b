"""What a user is told when something is wrong: one shape, one exit code a kind, no traceback."""

import json
import os
import re
from dataclasses import dataclass, field
from enum import IntEnum

LOG_JSON = "METATOOLAGENT_LOG_JSON"
"""Set to 1 in the environment, which jobs below Snakemake and DVC have from it: errors and warnings are one line of JSON each."""

SHOWN = 80
"""Characters of an offending value that are shown."""

# Not printable, or able to hide or reorder text on a terminal (C0, C1, bidirectional, zero-width, lone surrogates).
UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)


class Exit(IntEnum):
    """Exit codes, after sysexits.h."""

    PARAMS = 64
    DATA = 65
    ARTIFACT = 66
    BUG = 70
    CREATE = 73
    IO = 74
    RETRY = 75


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with an input: where it stands, what was found and how to mend it."""

    code: str
    what: str
    where: str
    got: str = ""
    fix: str = ""


@dataclass
class UserError(Exception):
    """An error that the user can act on.

    `str()` gives the whole message: code and what is wrong, then the lines where, got, fix, kept and more.
    """

    code: str
    what: str
    where: str = ""
    got: str = ""
    fix: str = ""
    kept: str = ""
    more: str = ""
    exit_code: Exit = field(default=Exit.DATA)

    def __str__(self) -> str:
        """Return the message as it is printed, all parts escaped: names of files and of fields are data too."""
        lines = [f"error[{self.code}] {escaped(self.what)}"]
        for label in ("where", "got", "fix", "kept", "more"):
            if text := getattr(self, label):
                shown_text = escaped(text, keep="\n" if label == "more" else "")
                lines.append(f"  {label + ':':<6} {shown_text}")
        return "\n".join(lines)


def in_json() -> bool:
    """Return whether errors and warnings are to be printed as JSON."""
    return os.environ.get(LOG_JSON, "0") not in {"", "0"}


def warning(code: str, what: str) -> str:
    """Return a warning, after which the job goes on, as it is printed: one line of text, or of JSON in ASCII (`code`, `what`)."""
    return json.dumps({"code": code, "what": what}) if in_json() else f"warning[{code}] {escaped(what)}"


def escaped(text: str, *, keep: str = "") -> str:
    """Return text that is safe to print: what a terminal would obey is spelled out, but for the characters in `keep`."""
    return UNPRINTABLE.sub(lambda match: match[0] if match[0] in keep else f"\\u{{{ord(match[0]):x}}}", text)


def shown(value: object) -> str:
    """Return `value` as text that is safe to print: quoted, cut, control characters spelled out."""
    text = escaped(str(value))
    return f'"{text[: SHOWN - 1]}…"' if len(text) > SHOWN else f'"{text}"'


def raise_findings(findings: list[Finding], *, kept: str, report: str = "", exit_code: Exit = Exit.DATA) -> None:
    """Raise one `UserError` for the first finding that also counts and lists the rest; nothing for none.

    Args:
        findings: what is wrong, most important first.
        kept: what happened to earlier outputs.
        report: where all findings are listed, if they are.
        exit_code: the code the program ends with.

    Raises:
        UserError: if `findings` is not empty.
    """
    if not findings:
        return
    first, rest = findings[0], findings[1:]
    listed = [escaped(f"{item.code} {item.where} {item.got}".rstrip()) for item in rest[:9]]
    more = ""
    if rest:
        more = f"{len(rest)} further" + (f", all in {report}" if report else "") + "".join(f"\n    {line}" for line in listed)
        more += f"\n    … and {len(rest) - len(listed)} more" if len(rest) > len(listed) else ""
    raise UserError(first.code, first.what, first.where, first.got, first.fix, kept, more, exit_code)
