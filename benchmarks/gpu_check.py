"""What a machine with a card can tell of the GPU kernels, four minutes at a time: one JSON and one Markdown table.

    make gpu-check OUT=folder [PYTHON=python] [DATA=folder] [YARDSTICK=folder] [ONLY=part]
    python -m benchmarks.gpu_check --out FOLDER [--data FOLDER] [--yardstick FOLDER] [--only PART] [--write PAGE]

Installs nothing and needs no network. Every part (benchmarks/gpu_parts.py) runs in a process of its own that is ended
at its time limit; one that fails is a line in the table, and the others go on. ``--only`` reruns parts and keeps what
the folder has of the others. ``--write`` puts the tables into the page, where parts ran on a card.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.gpu_parts import PARTS
from benchmarks.machine import describe, one_line, replace_section
from benchmarks.script import parser
from idekernels.files.atomic import replace_when_done

ROOT = Path(__file__).parents[1]
PACKAGES = ("idesketch", "numpy", "numba", "cupy-cuda12x", "cupy-cuda13x", "torch")
WHOLE = 235.0  # seconds that all parts may take together
LIMITS: Mapping[str, float] = MappingProxyType(  # seconds of each; a part gets no more than what is left of the whole
    {
        "tests": 120, "equality": 45, "kernels": 45, "sketches": 40, "start": 45, "command": 90, "disk": 90,
        "stage2": 60, "training": 75, "inference": 60, "peer": 30, "yardstick": 35, "sanitizer": 60,
    }
)  # fmt: skip
SECTION = "gpu-check"
_OF_THE_MODEL: Mapping[str, tuple[str, ...]] = MappingProxyType(  # measured together, predicted one by one
    {
        "match": ("match_", "merge"), "gather": ("gather",), "evidence": ("evidence",),
        "compatibility": ("compatibility",), "weigh mwf": ("centre", "join", "sweep", "certify", "total"),
        "propagate, 50 iterations": ("lay_out", "propagate", "energies", "choose"), "compose": ("compose",),
        "blend feather": ("blend",), "blend cut": ("cut",),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a part ended: seconds, ``table`` as benchmarks.gpu_parts has it, or None and why, in one line."""

    seconds: float
    table: dict[str, Any] | None
    why: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, write both files and perhaps the page; 1 where a part failed or found a wrong result."""
    chosen = _options(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    report = chosen.out / "gpu-check.json"
    parts = _before(report) if chosen.only else {}
    facts = {
        **describe(PACKAGES),
        "card": card(),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
    }
    begun = time.monotonic()
    for name in chosen.only or PARTS:
        left = WHOLE - (time.monotonic() - begun)
        parts[name] = asdict(run(name, chosen, min(LIMITS[name], left)))
        print(f"{name}: {_state(parts[name])}", flush=True)
        found = {"facts": facts, "parts": {each: parts[each] for each in PARTS if each in parts}}
        _write(report, json.dumps(found, indent=1))  # after each: what is there is kept, whatever comes
        _write(chosen.out / "gpu-check.md", page(found) + "\n")
    if chosen.write is not None:
        put(found, chosen.write)
    return int(not all(part["table"] and part["table"]["sound"] for part in parts.values()))


def _options(arguments: Sequence[str] | None) -> Namespace:
    made = parser(__doc__, out="gpu-check-output")
    made.add_argument("--data", type=Path, help="folder with the pairs folders train and test; else phantom faces")
    made.add_argument("--yardstick", type=Path, help="folder with run_tc.py, to time beside match")
    made.add_argument("--only", action="append", choices=PARTS, help="only this part, once or more")
    return made.parse_args(arguments)


def run(name: str, chosen: Namespace, limit: float) -> Outcome:
    """One part in a process, and all that it starts ended at the limit, in seconds."""
    if limit <= 0:
        return Outcome(0.0, None, f"no time was left of {WHOLE:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        command = [sys.executable, "-m", "benchmarks.gpu_parts", name, str(result)]
        for option, value in (("--data", chosen.data), ("--yardstick", chosen.yardstick)):
            command += [option, str(value.resolve())] if value else []
        start = time.monotonic()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            _, told = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Outcome(time.monotonic() - start, None, f"ended after {limit:.0f} s")
        taken = time.monotonic() - start
        if process.returncode or not result.is_file():
            lines = told.strip().splitlines() or [f"ended with {process.returncode}"]
            return Outcome(taken, None, lines[-1])
        return Outcome(taken, json.loads(result.read_text(encoding="utf-8")))


def _before(report: Path) -> dict[str, Any]:
    """The parts of an earlier report, none where there is none."""
    return dict(json.loads(report.read_text(encoding="utf-8"))["parts"]) if report.is_file() else {}


def card() -> str:
    """The card's name, driver and memory as nvidia-smi tells them; "none" without one."""
    return _said("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader") or "none"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""


def _state(part: Mapping[str, Any]) -> str:
    if part["table"] is None:
        return f"FAILED ({part['seconds']:.0f} s): {part['why']}"
    return f"{'done' if part['table']['sound'] else 'WRONG RESULTS'} ({part['seconds']:.0f} s)"


def page(found: Mapping[str, Any], predicted: Mapping[str, tuple[str, ...]] | None = None) -> str:
    """All parts as Markdown: a table each, or the line that says why there is none.

    predicted : by kernel, what the model says for 1 and 64 photos; stands beside the measured times.
    """
    facts, parts = found["facts"], found["parts"]
    lines = [f"{facts['card']}, commit {facts['commit'] or 'unknown'}; {one_line(facts)}"]
    for name, part in parts.items():
        lines += ["", f"**{name}**: {_state(part)}."]
        if part["table"]:
            lines += [part["table"]["note"]] if part["table"]["note"] else []
            lines += ["", *_rows(part["table"], predicted if name == "kernels" else None)]
    return "\n".join(lines)


def _rows(table: Mapping[str, Any], predicted: Mapping[str, tuple[str, ...]] | None) -> list[str]:
    head, rows = list(table["head"]), [list(row) for row in table["rows"]]
    if predicted:
        head += ["predicted, 1", "predicted, 64"]
        rows = [[*row, *predicted.get(row[0], ("", ""))] for row in rows]
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines]


def put(found: Mapping[str, Any], where: Path) -> None:
    """Put the tables into the page's section, predictions beside them; without a card says so and leaves it."""
    if found["facts"]["card"] == "none" or not any(part["table"] for part in found["parts"].values()):
        print(f"{where} stays as it is: nothing ran on a card")
        return
    replace_section(where, SECTION, page(found, predictions(where.read_text(encoding="utf-8"))))


def predictions(text: str) -> dict[str, tuple[str, ...]]:
    """By measured kernel, milliseconds that a page's section ``times`` predicts for an H100 and 1 and 64 photos."""
    section = re.search(r"<!-- times: begin -->(.*?)<!-- times: end -->", text, re.DOTALL)
    cell = r"(?:([\d.,]+) \w+|-)"  # of two variants of a kernel each takes some batches alone
    rows = re.findall(rf"^\| (\w+) \|.*\| {cell} \| {cell} \|$", section[1] if section else "", re.MULTILINE)
    told = {}
    for name, parts in _OF_THE_MODEL.items():
        own = [[float(each.replace(",", "") or 0) for each in row[1:]] for row in rows if row[0].startswith(parts)]
        if own:
            told[name] = tuple(f"{sum(column):.2g}" for column in zip(*own, strict=True))
    return told


def _write(path: Path, text: str) -> None:
    with replace_when_done(path) as made:
        made.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
