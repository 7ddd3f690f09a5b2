"""The predictions' arithmetic: occupancy as NVIDIA publishes it, bounds that no time may beat, loops found in code."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import roofline
from benchmarks.cards import CARDS, Card, blocks_of, occupancy, pipe, pipes_of
from benchmarks.launches import Launch, Passes, Setting, launches, matching, modelled
from benchmarks.toolchain import Compiled, Region, _regions, _sections
from idekernels.backends.cuda import catalogue

T4, A100, H100 = CARDS
ROW_OF_MATCH = Region({"IDP.4A.U8.U8": 12, "VABSDIFF4.U8": 12, "LDS": 9}, around=1)


def compiled(*loops: Region, registers: int = 32, shared: int = 0) -> Compiled:
    return Compiled("kernel", 80, 32, registers, shared, 0, 0, 0, (Region({"IMAD": 10, "EXIT": 1}), *loops))


@pytest.mark.parametrize(
    ("card", "threads", "registers", "shared", "blocks"),
    [
        (A100, 128, 37, 0, 12),  # CUDA C++ Best Practices Guide, "Calculating Occupancy": 75 %
        (A100, 320, 37, 0, 4),  # the same: 63 %
        (A100, 1024, 32, 0, 2),  # all 2,048 threads
        (T4, 1024, 64, 0, 1),
        (T4, 128, 93, 15160, 4),  # 15,360 bytes each of 65,536
        (A100, 128, 93, 15160, 5),  # 3,072 registers a warp, twenty warps
        (H100, 32, 32, 0, 32),  # the most blocks of an SM
        (T4, 32, 32, 0, 16),
        (A100, 256, 32, 100 * 1024, 1),  # with the runtime's 1,024 bytes, two would need 202 KiB of 164
        (A100, 1024, 128, 0, 0),  # does not fit at all
    ],
)
def test_blocks_of_an_sm(card: Card, threads: int, registers: int, shared: int, blocks: int) -> None:
    assert blocks_of(card, threads, registers, shared) == blocks


def test_occupancy_as_published() -> None:
    assert occupancy(A100, 128, 37, 0) == 0.75
    assert occupancy(A100, 320, 37, 0) == 0.625


@pytest.mark.parametrize(("card", "published"), [(T4, 8.1e12), (A100, 19.5e12), (H100, 67e12)])
def test_peaks_as_published(card: Card, published: float) -> None:
    """Multiply-adds in float32, two operations each (the data sheets)."""
    assert 2 * card.multiprocessors * card.lanes["FP32"] * card.clock == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(("card", "published", "reached"), [(A100, 624e12, 1.0), (H100, 1979e12, 0.66)])
def test_tensor_cores_as_published(card: Card, published: float, reached: float) -> None:
    """Products of bytes and their sums, two operations each (data sheets); mma.sync reaches two thirds of Hopper's."""
    products = card.lanes["TENSOR"] / 32 * 16 * 8 * 32
    assert 2 * card.multiprocessors * card.clock * products == pytest.approx(reached * published, rel=0.06)


def test_pipes() -> None:
    names = [
        "IMMA.16832.U8.U8",
        "IDP.4A.U8.U8",
        "IMAD.MOV.U32",
        "FFMA",
        "VABSDIFF4.U8",
        "MUFU.EX2",
        "SHFL.UP",
        "LDG.E",
        "BRA",
    ]
    assert [pipe(name) for name in names] == ["TENSOR", "FMA", "FMA", "FP32", "ALU", "XU", "LSU", "LSU", "issue"]
    assert pipes_of({"IMAD": 2, "FFMA": 3, "BRA": 1}) == {"FMA": 2, "FP32": 5, "issue": 6}


def test_a_large_kernel_takes_what_its_instructions_take() -> None:
    """64 blocks an SM, each 8 warps of 11 instructions outside and 1,000 in the loop, 960 of them for 64 lanes."""
    loop = Region({"IMAD": 960, "BRA": 40}, around=0)
    launch = Launch("kernel", 64 * A100.multiprocessors, 256, 1.0, (Passes(("IMAD",), 8),))
    found = roofline.predict(launch, compiled(loop), A100)
    assert found.bound == "FMA"
    assert found.seconds == pytest.approx(64 * 8 * (960 + 10) / 2 / A100.clock)
    assert found.operations == 64 * A100.multiprocessors * 8 * 1011 * 32
    assert roofline.predict(replace(launch, times=3), compiled(loop), A100).seconds == pytest.approx(3 * found.seconds)


def test_few_warps_hide_less() -> None:
    """One block of one warp on every SM: an instruction every fourth cycle, of one of four schedulers."""
    loop = Region({"BRA": 1000}, around=0)
    launch = Launch("match_direct", A100.multiprocessors, 32, 1.0, (Passes(("BRA",), 1000),))
    found = roofline.predict(launch, compiled(loop), A100)
    assert found.bound == "issue" and found.seconds == pytest.approx(4 * 1_000_011 / A100.clock)


def test_memory_is_never_beaten() -> None:
    launch = Launch("kernel", 100_000, 256, 1e9)
    for card in CARDS:
        found = roofline.predict(launch, compiled(), card)
        assert found.bound == "memory" and found.seconds == pytest.approx(1e9 / card.bandwidth)
        few = roofline.predict(replace(launch, blocks=1), compiled(), card)
        assert few.seconds > 10 * found.seconds  # one block cannot keep the memory busy


def test_a_small_kernel_waits_for_its_launch() -> None:
    found = roofline.predict(Launch("kernel", 1, 32, 100.0, times=20), compiled(), H100)
    assert found.bound == "launch" and found.seconds == pytest.approx(20 * roofline.QUEUED)


def test_unrolled_loops_count_once() -> None:
    """Passes as written: where the compiler made two of one, half as many."""
    passes = Passes(("IDP",), 100, each=6, around=7)
    made = compiled(Region({"IADD3": 3}, around=0), ROW_OF_MATCH)
    found = roofline.instructions(Launch("match_direct", 1, 64, 1.0, (passes,)), made)
    assert found == {"IMAD": 20, "EXIT": 2, "IDP.4A.U8.U8": 600, "VABSDIFF4.U8": 600, "LDS": 450, "IADD3": 21}


def test_a_changed_kernel_is_told() -> None:
    with pytest.raises(LookupError, match="kernel for sm_80 has no loop with"):
        roofline.instructions(Launch("match_direct", 1, 32, 1.0, (Passes(("FMNMX",), 1),)), compiled(ROW_OF_MATCH))


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match="kernel does not fit onto T4"):
        roofline.predict(Launch("match_direct", 1, 1024, 1.0), compiled(registers=128), T4)


def test_matching_compares_what_there_is() -> None:
    """Every row of every patch column at every shift of every image, and not thrice that for idle lanes."""
    setting = Setting(1)
    wanted = setting.pairs * 11**2 * setting.grid.height * setting.grid.shape[1]
    launch, _ = matching(setting, T4)
    compared = launch.blocks * launch.passes[0].times * 32 * 4  # four shifts a lane
    assert wanted < compared < 3 * wanted


@pytest.mark.parametrize("card", [A100, H100])
@pytest.mark.parametrize("photos", [2, 64, 100])
def test_tensor_cores_multiply_what_there_is(card: Card, photos: int) -> None:
    """Every place of every node's window in every image, for photos in eights, four products of 32 bytes each."""
    setting = Setting(photos)
    wanted = setting.pairs * 11**2 * setting.grid.nodes * photos * 4
    launch, _ = matching(setting, card)
    assert launch.kernel == "match_tensor"
    compared = launch.blocks * launch.passes[0].times * 16 * 8
    assert wanted < compared < {2: 4.5, 64: 1.1, 100: 1.4}[photos] * wanted


def test_launches_grow_with_the_work() -> None:
    one, many = ({at.kernel: at for at in launches(Setting(photos), A100)} for photos in (2, 64))
    assert one["propagate"].times == 51 and one["sweep"].times == 64 and one["certify"].times == 1
    for kernel in one.keys() - {"merge"}:  # a batch fills the card without dividing the bank into runs
        assert many[kernel].bytes == pytest.approx(32 * one[kernel].bytes, rel=0.3), kernel
        assert many[kernel].times == one[kernel].times
    large = {at.kernel: at for at in launches(Setting(2, 10_000), A100)}
    assert large["match_tensor"].bytes > 90 * one["match_tensor"].bytes and large["sweep"] == one["sweep"]


@given(
    card=st.sampled_from(CARDS),
    blocks=st.integers(1, 10**6),
    warps=st.integers(1, 8),
    size=st.floats(1, 1e12),
    registers=st.integers(16, 128),
    passes=st.integers(0, 10**6),
)
def test_no_prediction_beats_the_card(
    card: Card, blocks: int, warps: int, size: float, registers: int, passes: int
) -> None:
    launch = Launch("kernel", blocks, 32 * warps, size, (Passes(("IMAD",), passes),))
    made = compiled(Region({"IMAD": 3, "BRA": 2}, around=0), registers=registers)
    found = roofline.predict(launch, made, card)
    assert found.seconds >= size / card.bandwidth
    slots = card.multiprocessors * card.clock * card.lanes["issue"]
    assert found.seconds * slots >= found.operations * (1 - 1e-9)
    assert found.seconds * slots / 2 >= blocks * (3 * passes + 10 * warps) * 32 * (1 - 1e-9)  # 64 lanes of 128


def test_every_kernel_is_predicted() -> None:
    match = {variant.kernel for variant in modelled()}
    names = {entry.kernel for entry in catalogue.cuda_entries(90)} - match - {"add_planes"}  # of several planes alone
    assert {one.kernel for one in launches(Setting(1), T4)} == names | {"match_direct"}
    assert {one.kernel for one in launches(Setting(1), H100)} == names | {"match_direct"}
    assert {one.kernel for one in launches(Setting(2), H100)} == names | {"match_tensor"}
    assert set().union(*roofline.METHODS.values()) == names - {"cut", "round_levels"} | match


SHOWN = """
\t.section\t.text.twice,"ax",@progbits
twice:
.text.twice:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   IADD3 R2, R2, 0x1, RZ ;
.L_x_0:
        /*0020*/              @!P0 LDG.E R3, [R2.64] ;
        /*0030*/               @P1 BRA `(.L_x_0) ;
        /*0040*/                   BRA.DIV UR4, `(.L_x_9) ;
        /*0050*/               @P2 BRA `(.L_x_1) ;
        /*0060*/                   EXIT ;
.L_x_9:
        /*0070*/                   NOP ;
        /*0080*/                   BRA `(.L_x_0) ;
"""


def test_loops_are_found() -> None:
    """Two, one in the other; the way of diverged warps at the end is none."""
    ((name, code),) = _sections(SHOWN)
    assert name == "twice"
    assert [*_regions(code)] == [
        Region({"MOV": 1, "EXIT": 1}, None),
        Region({"IADD3": 1, "BRA.DIV": 1, "BRA": 1}, 0),
        Region({"LDG.E": 1, "BRA": 1}, 1),
    ]
