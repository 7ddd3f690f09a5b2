"""Regular expressions of a user, run where they can be stopped: a process of its own with a time limit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from idekernels.errors import InputError

MAX_PATTERN = 500  # characters
SECONDS = 20.0  # for all the names of an import together

_SEARCH = """
import json, re, sys
given = json.load(sys.stdin)
try:
    pattern = re.compile(given["pattern"])
except (re.error, RecursionError, OverflowError, MemoryError) as error:
    json.dump({"error": str(error)}, sys.stdout)
    sys.exit()
found = (pattern.search(name) for name in given["names"])
json.dump({"keys": [m and "-".join(g or "" for g in m.groups()) if m and m.groups() else m and m[0]
                    for m in found]}, sys.stdout)
"""


def keys(pattern: str, names: Sequence[str]) -> list[str | None]:
    """What a regular expression finds in each name: its groups joined by ``-``, or the whole match, or None.

    Raises
    ------
    InputError
        Not a regular expression, too long, or slower than ``SECONDS`` (some take time exponential in a name's length).
    """
    if len(pattern) > MAX_PATTERN:
        raise InputError(f"--match: a regular expression of {len(pattern)} characters; at most {MAX_PATTERN}")
    job = json.dumps({"pattern": pattern, "names": list(names)})
    command = [sys.executable, "-I", "-c", _SEARCH]
    try:
        done = subprocess.run(command, input=job, capture_output=True, text=True, timeout=SECONDS, check=False)
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise InputError(
            f"--match: {pattern!r} takes more than {SECONDS:g} seconds; avoid repeats of repeats such as (a+)+"
        ) from None
    except ValueError:
        raise InputError(f"--match: {pattern!r} cannot be run") from None
    if "error" in answer:
        raise InputError(f"--match: {pattern!r} is not a regular expression ({answer['error']})")
    found: list[str | None] = answer["keys"]
    return found
