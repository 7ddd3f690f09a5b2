"""The hand: one curve of grey levels, nothing by default, of sketches alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idekernels.bank import PHOTO_TO_SKETCH, SKETCH_TO_PHOTO
from idekernels.errors import InputError
from idemodel.generator.hand import Hand, hand_of

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_the_usual_hand_changes_nothing() -> None:
    fine = torch.rand(2, 1, 5, 7)
    assert Hand().drawn(fine) is fine


@settings(deadline=None)
@given(st.floats(0.25, 4.0), st.floats(0.5, 1.0))
def test_a_hand_keeps_the_order_of_grey_levels(press: float, paper: float) -> None:
    levels = torch.linspace(0, 1, 101)
    drawn = Hand(press, paper).drawn(levels)
    assert bool((drawn.diff() >= 0).all()) and drawn.min() >= 0 and drawn.max() <= 1
    assert bool((drawn[levels >= paper + 1e-6] == 1).all())
    torch.testing.assert_close(Hand(press).drawn(Hand(press=1, paper=paper).drawn(levels)), drawn)


def test_pressing_harder_is_darker_and_paper_stays_blank() -> None:
    levels = torch.tensor([0.2, 0.5, 0.97, 1.0])
    torch.testing.assert_close(Hand(2.0, 0.8).drawn(levels), torch.tensor([0.0625, 0.390625, 1.0, 1.0]))
    assert bool((Hand(1.5).drawn(levels[:3]) < levels[:3]).all())


@pytest.mark.parametrize("values", [{"press": 0.1}, {"press": float("nan")}, {"paper": 1.1}, {"paper": 0.2}])
def test_values_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be finite and in"):
        Hand(**values)


def test_a_recipe_names_the_hand_of_sketches_alone() -> None:
    recipe = {"hand": {"press": 1.5, "paper": 0.9}}
    assert hand_of(recipe, PHOTO_TO_SKETCH) == Hand(1.5, 0.9)
    assert hand_of(recipe, SKETCH_TO_PHOTO) == hand_of({}, PHOTO_TO_SKETCH) == Hand()
    with pytest.raises(InputError, match="hand of the model's recipe"):
        hand_of({"hand": {"pressure": 1}}, PHOTO_TO_SKETCH)
