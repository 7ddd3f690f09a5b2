"""Shares of a coarse photo's time, kernel by kernel, in turns in one process: a table in docs/KERNELS.md.

python -m benchmarks.shares [--repeat N] [--write docs/KERNELS.md]
"""

from __future__ import annotations

from benchmarks.machine import describe, one_line
from benchmarks.script import parser, publish
from benchmarks.stages import KERNELS, Field
from benchmarks.timing import in_turns, quartiles
from idekernels.workloads import STANDARD

WAY = ("match", "gather", "evidence", "compatibility", "weigh mwf", "compose", "blend feather")  # of method mwf


def main() -> None:
    """Time every kernel on the standard workload and print, or write, its share of the way that mwf takes."""
    options = parser(__doc__)
    options.add_argument("--repeat", type=int, default=21, help="rounds")
    arguments = options.parse_args()
    field = Field(STANDARD)
    runs = {name: lambda kernel=kernel: kernel(field) for name, kernel in KERNELS.items()}
    for run in runs.values():
        run()  # compile, and make what the kernels need
    facts = describe(("idesketch", "numpy", "numba"))
    table = _table({name: quartiles(times) for name, times in in_turns(runs, arguments.repeat).items()})
    publish({"shares": f"{one_line(facts)} Median of {arguments.repeat}.\n\n{table}"}, arguments.write)


def _table(times: dict[str, tuple[float, float, float]]) -> str:
    whole = sum(times[name][1] for name in WAY)
    lines = ["| kernel | median, ms | quartiles, ms | share of a photo by `mwf` |", "|---|---|---|---|"]
    for name, (low, median, high) in times.items():
        share = f"{median / whole:.0%}" if name in WAY else "another method's"
        lines.append(f"| {name} | {1e3 * median:.1f} | {1e3 * low:.1f} to {1e3 * high:.1f} | {share} |")
    lines.append(f"| all of `mwf` | {1e3 * whole:.1f} | | 100% |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
