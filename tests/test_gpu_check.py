"""The check for a machine with a card, where there is none: parts fail with a line each, all files are written."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import idekernels as ide
from benchmarks import gpu_check, gpu_parts, gpu_peer
from benchmarks.gpu_check import Outcome
from benchmarks.peers_match import Matching
from benchmarks.stages import Field
from idekernels import backends
from idekernels.backends.cuda import catalogue, variants
from idekernels.backends.cuda import device as devices
from idekernels.workloads import WORKLOADS
from tests.emulator import host
from tests.emulator.device import EmulatedDevice

ON_A_CARD = [name for name in gpu_parts.PARTS if name != "command"]  # that one times the CPU too
ROOT = Path(__file__).parents[1]
without_card = pytest.mark.skipif(backends.why_missing("cuda") is None, reason="there is a card")
DONE = {
    "head": ["kernel, ms", "1 photo"],
    "rows": [["match", "0.5"], ["a|b", "1"]],
    "note": "By events.",
    "sound": True,
}


def options(tmp_path: Path, **changes: Any) -> Namespace:
    return Namespace(**{"out": tmp_path, "data": None, "yardstick": None, "only": None, "write": None, **changes})


@without_card
@pytest.mark.slow
def test_without_a_card_every_part_says_so_and_both_files_are_there(tmp_path: Path) -> None:
    page = tmp_path / "GPU.md"
    page.write_text("kept")
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--out", str(tmp_path / "out"), "--write", str(page)]
    command += [word for name in ON_A_CARD for word in ("--only", name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not done.stderr, done.stderr
    found = json.loads((tmp_path / "out" / "gpu-check.json").read_text())
    assert list(found["parts"]) == ON_A_CARD and found["facts"]["commit"]
    assert all(part["table"] is None and part["why"].startswith("RuntimeError: ") for part in found["parts"].values())
    told = (tmp_path / "out" / "gpu-check.md").read_text()
    for name in ON_A_CARD:
        assert f"**{name}**: FAILED (" in told and f"{name}: FAILED (" in done.stdout
    assert "idesketch[cuda" in told and page.read_text() == "kept"
    assert f"{page} stays as it is: nothing ran on a card" in done.stdout


@without_card
def test_a_part_alone_fails_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("kernels", "stage2", "training", "inference"):
        assert gpu_parts.main([part, str(tmp_path / "result.json")]) == 1
        told = capsys.readouterr().err
        assert told.startswith("RuntimeError: ") and told.count("\n") == 1
    assert not (tmp_path / "result.json").exists()


@without_card
def test_the_command_is_timed_on_the_cpu_where_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [np.full((64, 48, 3), level, np.uint8) for level in (10, 90, 200)]
    monkeypatch.setattr(gpu_parts, "_pictures", lambda data: ((photos, [one[..., 0] for one in photos]), photos, ""))
    seen: list[tuple[str, ...]] = []

    def seconds(arguments: Any, variables: Any) -> float:
        seen.append((*map(str, arguments), *variables))
        return float(len(seen))

    monkeypatch.setattr(gpu_parts, "_seconds", seconds)
    assert gpu_parts.command(gpu_parts.Given()).rows == (("cpu", "", "2.0"),)
    assert seen[0] == seen[1] and "CUPY_CACHE_DIR" not in seen[0]
    monkeypatch.setattr(backends, "why_missing", lambda name: None)
    assert gpu_parts.command(gpu_parts.Given()).rows[1] == ("cuda", "5.0", "6.0")
    assert seen[-2] == seen[-1] and "CUPY_CACHE_DIR" in seen[-1]  # the second run finds the caches of the first


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(RuntimeError, match="idesketch coarse ended with 2"):
        gpu_parts._seconds(("coarse",), {})
    assert gpu_parts._seconds(("--version",), {}) > 0


def test_every_part_has_a_limit_and_all_fit_into_four_minutes() -> None:
    assert set(gpu_check.LIMITS) == set(gpu_parts.PARTS) and gpu_check.WHOLE < 240


def test_a_part_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    ended = gpu_check.run("kernels", options(tmp_path), 0.05)
    assert ended.table is None and ended.why == "ended after 0 s"
    assert "no time was left" in gpu_check.run("kernels", options(tmp_path), 0.0).why


def prepared(
    monkeypatch: pytest.MonkeyPatch, outcomes: dict[str, Outcome], card: str = "Card X, 580, 80 GB"
) -> list[str]:
    """Parts that end like this in place of those that are run; gives the list of those asked for."""
    asked: list[str] = []

    def run(name: str, chosen: Namespace, limit: float) -> Outcome:
        asked.append(name)
        return outcomes.get(name, Outcome(1.0, None, "no luck"))

    monkeypatch.setattr(gpu_check, "run", run)
    monkeypatch.setattr(gpu_check, "card", lambda: card)
    return asked


def test_one_part_is_run_again_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(monkeypatch, {"peer": Outcome(2.0, DONE)})
    assert gpu_check.main(["--out", str(tmp_path)]) == 1
    asked = prepared(monkeypatch, {"kernels": Outcome(3.0, DONE)})
    gpu_check.main(["--out", str(tmp_path), "--only", "kernels"])
    assert asked == ["kernels"]
    parts = json.loads((tmp_path / "gpu-check.json").read_text())["parts"]
    assert list(parts) == list(gpu_parts.PARTS)
    assert [name for name, part in parts.items() if part["table"]] == ["kernels", "peer"]


def test_all_parts_done_is_success_and_a_wrong_result_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = {name: Outcome(1.0, DONE) for name in gpu_parts.PARTS}
    prepared(monkeypatch, done)
    assert gpu_check.main(["--out", str(tmp_path)]) == 0
    prepared(monkeypatch, {**done, "peer": Outcome(1.0, {**DONE, "sound": False})})
    assert gpu_check.main(["--out", str(tmp_path)]) == 1
    assert "**peer**: WRONG RESULTS (1 s)." in (tmp_path / "gpu-check.md").read_text()


def test_the_page_gets_the_card_and_predictions_beside_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "GPU.md"
    page.write_text(
        "<!-- gpu-check: begin -->\nold\n<!-- gpu-check: end -->\n<!-- times: begin -->\n"
        "| match_direct | 9 issue | 9 ALU | 0.35 ALU | 11 ALU |\n| merge | 1 ALU | 1 ALU | 0.005 launch | 0.078 ALU |\n"
        "| match_direct, 10,000 pairs | 80 issue | 4,980 issue | 19 ALU | 1,191 ALU |\n<!-- times: end -->\n"
    )
    prepared(monkeypatch, {"kernels": Outcome(3.0, DONE)})
    gpu_check.main(["--out", str(tmp_path / "out"), "--write", str(page)])
    told = page.read_text()
    assert "Card X, 580, 80 GB" in told and "old" not in told
    assert "| kernel, ms | 1 photo | predicted, 1 | predicted, 64 |" in told
    assert "| match | 0.5 | 0.35 | 11 |" in told and "| a/b | 1 |  |  |" in told
    assert "**peer**: FAILED (1 s): no luck." in told


def test_the_repositorys_page_has_the_section_and_predictions_for_every_kernel() -> None:
    text = (ROOT / "docs" / "GPU.md").read_text()
    assert "<!-- gpu-check: begin -->" in text
    assert set(gpu_check.predictions(text)) == set(gpu_check._OF_THE_MODEL)


def test_every_kernel_is_predicted_beside_what_it_is_measured_with() -> None:
    alone = {"add_planes", "round_levels"}  # of several planes, and of images: measured with whole sketches alone
    kernels = {entry.kernel for entry in catalogue.cuda_entries(90)} - alone
    parts = [part for own in gpu_check._OF_THE_MODEL.values() for part in own]
    assert all(sum(kernel.startswith(part) for part in parts) == 1 for kernel in kernels)
    assert all(any(kernel.startswith(part) for kernel in kernels) for part in parts)


@pytest.mark.parametrize("name", gpu_peer.PEERS)
def test_peers_on_a_device_find_our_distances(name: str) -> None:
    """On torch's CPU: what the part ``peer`` compares on the card."""
    work = WORKLOADS["tiny"]
    size = (4, 60, 45)  # no clamped anchors
    numbers = np.random.default_rng(0)
    bank = numbers.integers(0, 256, size, dtype=np.uint8)
    matching = Matching(bank, numbers.integers(0, 256, size[1:], dtype=np.uint8), 3, work.k, 10, 5)
    prepared = ide.prepare(
        ide.MemoryBank(bank[:, None], bank[:, None], [*"abcd"], ide.BankSettings(10, 5, 3)), "reference"
    )
    truth = ide.match(matching.query[None, None], prepared, k=work.k).distance[0]
    np.testing.assert_array_equal(gpu_peer.PEERS[name](matching, "cpu")().numpy(), truth)


@pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))
def test_match_is_timed_by_every_variant_that_fits() -> None:
    work = replace(WORKLOADS["tiny"], pairs=5, photos=2)
    for capability, names in (((8, 0), ["tensor", "direct"]), ((7, 5), ["direct"])):
        device, table = EmulatedDevice(capability=capability), variants.MATCHING
        with devices.use(device):
            field = Field(work, "cuda")
            taking = [one for one in table if gpu_parts._takes(one, field)]
            assert [one.name for one in taking] == names
            for one in taking:
                gpu_parts._match_by(one, field)
        assert device.launched[::2] == [f"match_{name}" for name in names] and table == variants.MATCHING


def test_photos_of_the_command_lie_on_disk(tmp_path: Path) -> None:
    photos = [np.full((64, 48, 3), level, np.uint8) for level in (10, 90, 200)]
    sketches = [photo[..., 0] for photo in photos]
    bank, folder = gpu_parts._on_disk(tmp_path, ((photos, sketches), photos[:2], ""))
    assert [path.name for path in sorted(folder.iterdir())] == ["000.png", "001.png"]
    with ide.open_bank(bank) as opened:
        assert opened.images == 3
