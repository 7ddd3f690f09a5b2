"""Where the time of ``match`` goes: the kernel with parts left out, and an older checkout, in turns; changes no result.

Parts are left out by emptying their functions in a copy of the package, each copy in a process of its own that answers
one call at a time, so that all variants meet the same machine. ``python -m benchmarks.match_cycles`` prints a table;
``--against PATH`` adds a checkout of another commit, ``--write docs/KERNELS.md`` puts it into the page.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import describe, one_line, replace_section
from benchmarks.timing import quartiles

ROOT = Path(__file__).parents[1]
KERNEL = "idekernels/backends/cpu/matching.py"

PARTS = (  # in the order in which they are taken away
    ("insertion: lanes that are near enough, one by one", ("_insert_near",)),
    (
        "joins and comparison: cells to strips, strips to patches, 32 distances against the K-th",
        ("_keep_nearest", "_join_cells"),
    ),
    ("products: the bank's pixels times the query's, summed a cell", ("_multiply_cells",)),
    ("norms of the bank's patches", ("_move_norms",)),
    ("packing the bank's pixels", ("_pack_rows",)),
    ("packing the query", ("_pack_query",)),
)

_SERVER = """
import json, sys, time
import numpy as np
import idekernels as ide
from idekernels.workloads import WORKLOADS
work = WORKLOADS[sys.argv[1]]
bank = work.bank()
query = np.stack([bank.query(photo) for photo in work.queries()])
bank = ide.prepare(bank, "cpu")
found = ide.match(query, bank, k=work.k)
places = [getattr(found, name).astype(np.int64) for name in ("image", "row", "column", "distance")]
print(json.dumps([work.patch_pairs * work.photos, [int((part * np.arange(1, 1 + part.size).reshape(part.shape)).sum())
                  for part in places]]), flush=True)
for _ in sys.stdin:
    wall, own = time.perf_counter(), time.thread_time()
    ide.match(query, bank, k=work.k)
    print(json.dumps([time.perf_counter() - wall, time.thread_time() - own]), flush=True)
"""


@dataclass
class Server:
    """A process that matches when asked to."""

    process: subprocess.Popen[str]
    pairs: int
    checksum: list[int]

    def seconds(self) -> tuple[float, float]:
        """Wall-clock time of one call, and what its main thread computed."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        wall, own = self._answer()
        return wall, own

    def _answer(self) -> list[float]:
        answer: list[float] = json.loads(self.process.stdout.readline())
        return answer


@contextmanager
def serve(package: Path, workload: str, threads: int) -> Iterator[Server]:
    """A server of the package below ``package``."""
    environment = {**os.environ, "PYTHONPATH": str(package), "NUMBA_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, workload], env=environment, cwd=package, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        pairs, checksum = json.loads(process.stdout.readline())
        yield Server(process, pairs, checksum)
    finally:
        process.stdin.close()
        process.wait()


def without(functions: Sequence[str], folder: Path) -> Path:
    """A copy of the package in ``folder`` whose kernel has these functions empty."""
    shutil.copytree(ROOT / "idekernels", folder / "idekernels", ignore=shutil.ignore_patterns("__pycache__"))
    kernel = folder / KERNEL
    tree = ast.parse(kernel.read_text(encoding="utf-8"))
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in functions:
        found[name].body = [ast.Pass()]
    kernel.write_text(ast.unparse(tree), encoding="utf-8")
    return folder


def measure(workload: str, threads: int, rounds: int, against: Path | None) -> tuple[dict[str, list[float]], int]:
    """Milliseconds of every variant, by its name, and how many pairs of patches it compares."""
    with ExitStack() as stack:
        servers = {"all": stack.enter_context(serve(ROOT, workload, threads))}
        if against is not None:
            servers["before"] = stack.enter_context(serve(against, workload, threads))
            if servers["before"].checksum != servers["all"].checksum:
                raise ValueError(f"{against} finds other candidates")
        gone: list[str] = []
        for title, functions in PARTS:
            gone += functions
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            servers[title] = stack.enter_context(serve(without(gone, folder), workload, threads))
        times: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, server in servers.items():
                wall, own = server.seconds()
                times[name].append(1e3 * (own if threads == 1 else wall))
        return times, servers["all"].pairs


def table(times: dict[str, list[float]], pairs: int) -> str:
    """What each part takes: the time with it less the time without it."""
    lines = ["| part | least, ms | median, ms | share |", "|---|---|---|---|"]
    least = {name: min(values) for name, values in times.items()}
    middle = {name: quartiles(values)[1] for name, values in times.items()}
    before = "all"
    for title, _ in PARTS:
        gone, median = least[before] - least[title], middle[before] - middle[title]
        lines.append(f"| {title} | {gone:.2f} | {median:.2f} | {gone / least['all']:.0%} |")
        before = title
    lines.append(f"| the rest | {least[before]:.2f} | {middle[before]:.2f} | {least[before] / least['all']:.0%} |")
    lines.append(
        f"| all | {least['all']:.2f} | {middle['all']:.2f} | {1e6 * least['all'] / pairs:.2f} ns a patch pair |"
    )
    if "before" in times:
        ratio = f"{least['all'] / least['before']:.0%} and {middle['all'] / middle['before']:.0%} of it now"
        lines.append(f"| the checkout it is compared with | {least['before']:.2f} | {middle['before']:.2f} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default="standard")
    parser.add_argument("--threads", type=int, default=1, help="with 1, the time that the thread computes is taken")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--against", type=Path, help="a checkout of another commit")
    parser.add_argument("--write", type=Path, help="a page with a section match-cycles")
    chosen = parser.parse_args()
    against = chosen.against and chosen.against.resolve()
    times, pairs = measure(chosen.workload, chosen.threads, chosen.rounds, against)
    facts = describe(["idesketch", "numpy", "numba"])
    text = f"{one_line(facts)} Workload {chosen.workload}, {chosen.threads} threads.\n\n{table(times, pairs)}"
    print(text)
    if chosen.write:
        replace_section(chosen.write, "match-cycles", text)


if __name__ == "__main__":
    main()
