"""The roofline's arithmetic: occupancy as the CUDA calculators give it, times never under what a resource allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.roofline import CARDS, DEMANDS, WORKS, Card, Compiled, Demand, K, demand_of, occupancy, predict
from benchmarks.roofline import read_compiled as read
from idekernels.cuda import launch

T4, A100, H100 = CARDS


@pytest.mark.parametrize(
    ("card", "registers", "shared", "threads", "warps"),
    [
        (A100, 32, 0, 256, 64),  # full
        (A100, 64, 0, 256, 32),  # 65,536 registers, 64 a thread: 1,024 threads
        (A100, 255, 0, 256, 8),
        (A100, 32, 0, 32, 32),  # 32 blocks an SM at most
        (A100, 32, 48 * 1024, 256, 24),  # three blocks of 49 KiB in 164
        (T4, 32, 0, 1024, 32),
        (T4, 32, 16 * 1024, 128, 16),  # four blocks of 16 KiB in 64
        (T4, 37, 0, 128, 32),  # 1,280 registers a warp: 51 warps would fit, 32 are allowed
        (H100, 128, 0, 128, 16),
    ],
)
def test_occupancy(card: Card, registers: int, shared: int, threads: int, warps: int) -> None:
    assert occupancy(card, Compiled(registers, shared, threads)) == warps


@given(
    card=st.sampled_from(CARDS),
    made=st.builds(Compiled, st.integers(16, 128), st.integers(0, 48 * 1024), st.integers(1, 16).map(lambda n: 32 * n)),
    demand=st.builds(Demand, st.floats(1, 1e12), st.floats(1, 1e12), st.floats(1, 1e6), st.integers(1, 200).map(float)),
)
def test_no_prediction_beats_the_card(card: Card, made: Compiled, demand: Demand) -> None:
    found = predict(card, made, demand)
    assert found.seconds >= demand.bytes / card.bandwidth
    assert found.seconds * card.multiprocessors * card.clock * card.lanes / 32 >= demand.instructions * (1 - 1e-9)
    assert found.bound in ("memory", "instructions", "launches")
    twice = Demand(2 * demand.bytes, 2 * demand.instructions, demand.blocks, 2 * demand.launches)
    assert predict(card, made, twice).seconds == pytest.approx(2 * found.seconds)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_more_work_takes_longer_and_a_batch_less_a_photo(card: Card) -> None:
    made = Compiled(96, 15_160, 128, 106)
    one, batch, large, both = (predict(card, made, demand_of("match", work, card, made)).seconds for work in WORKS)
    assert one < large < both and one < batch < both
    assert batch < 64 * one
    assert both / large == pytest.approx(64, rel=0.2)


def test_every_kernel_is_counted() -> None:
    """Those of a sketch by mwf and of belief propagation; cut and sum-product are another method's."""
    from idekernels.cuda import catalogue

    names = {entry.name.split(" ")[0] for entry in catalogue.numba_entries(K)}
    assert names == {*DEMANDS, "cut"}


def test_the_compilers_words_are_read() -> None:
    loops = [{"LDG": 3}, {"IDP.4A.U8.U8": 12, "LDS": 9}]
    shown = [
        {"name": "match: defaults", "architecture": 80, "registers": 93, "shared": 7, "threads": 128, "loops": loops},
        {"name": "merge: defaults", "architecture": 80, "registers": 30, "shared": 0, "threads": 32, "loops": []},
        {"name": "sweep K=10", "architecture": 75, "registers": 49, "shared": 160, "threads": 32, "loops": []},
    ]
    assert read(shown) == {("match", 80): Compiled(93, 7, 128, 21), ("sweep", 75): Compiled(49, 160, launch.WARP)}
