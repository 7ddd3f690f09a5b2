"""The script behind the preselection tables: figures of real searches, kept as they come, taken up again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import preselect
from idekernels import BankSettings, write_bank
from idekernels.results import Candidates
from idemodel import phantom_pairs

PAGE = "<!-- preselect-phantom: begin -->\n<!-- preselect-phantom: end -->\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the script is called with, for a bank of six drawn faces and two photos."""
    bank = tmp_path / "bank.h5"
    pairs = ((pair.name, pair.photo, pair.sketch) for pair in phantom_pairs(6, seed=preselect.BANK_SEED))
    write_bank(bank, pairs, BankSettings(20, 5, 2))
    monkeypatch.setattr(preselect, "COUNTS", {"phantom": (2, 5, None), "cuhk": (2, None)})
    (tmp_path / "page.md").write_text(PAGE)
    arguments = ["preselect", "--bank", bank, "--photos", 2, "--out", tmp_path / "out", "--data", tmp_path / "none"]
    return [*map(str, arguments), "--backend", "cpu", "--write", str(tmp_path / "page.md")]


def test_figures_are_taken_once_and_kept(run: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", run)
    preselect.main()
    page = (tmp_path / "page.md").read_text()
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip() for row in rows] == ["2", "5", "all 6"]
    recalls = [float(row[1]) for row in rows]
    assert 0.2 < recalls[0] < recalls[1] < recalls[2] == 1.0
    assert float(rows[2][3]) == 0.0 and all(0.2 < float(row[2]) < 1.0 for row in rows)
    kept = json.loads((tmp_path / "out" / "phantom-cpu.json").read_text())["photos"]
    assert set(kept) == {"0000", "0001"} and set(kept["0000"]) == {"2", "5", "None"}

    monkeypatch.setattr(preselect, "_figures", lambda *_: pytest.fail("a photo was taken again"))
    preselect.main()
    assert (tmp_path / "page.md").read_text().splitlines()[2:] == page.splitlines()[2:]


def test_figures_of_another_bank_are_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    file.write_text(json.dumps({"of_what": ["one", 1], "photos": {"a": {}}}))
    assert preselect._Kept.of(file, ["one", 1]).photos == {"a": {}}
    assert preselect._Kept.of(file, ["other", 1]).photos == {}


def test_recall_counts_places_node_by_node() -> None:
    image = np.array([[[0, 1], [2, 3]]], np.int32)
    zero, far = np.zeros_like(image), np.zeros(image.shape, np.uint32)
    truth = Candidates(image, zero, zero, far)
    assert preselect.recall(truth, truth) == 1.0
    assert preselect.recall(Candidates(image[:, ::-1], zero, zero, far), truth) == 0.0  # right images, wrong nodes
    assert preselect.recall(Candidates(image[:, :, ::-1], zero, zero, far), truth) == 1.0  # in another order
    assert preselect.recall(Candidates(image, zero + 1, zero, far), truth) == 0.0


@pytest.mark.parametrize(
    ("lost", "says"),
    [((0.01, 0.002), "N = 5 is the least here that loses under 0.003 SSIM"), ((0.01, 0.003), "No N here loses less")],
)
def test_the_verdict_names_the_least_number_that_is_enough(lost: tuple[float, float], says: str) -> None:
    def figures(ssim: float, match: float) -> dict[str, float]:
        return {"ssim": ssim, "match": match, "recall": 1.0, "fsim": 0.5, "scoot": 0.5, "sketch": 1.0}

    done = [{"2": figures(0.6 - lost[0], 0.1), "5": figures(0.6 - lost[1], 0.2), "None": figures(0.6, 4.0)}]
    table = preselect._table(done, (2, 5, None), 9)
    assert says in table[-1]
    assert "200 ms of matching a photo, 20.0 times less" in table[-1] or lost[1] > 0.002
