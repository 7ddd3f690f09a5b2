# %% [markdown]
# # A photo to a coarse sketch, one kernel at a time
#
# Faces that never were (`idemodel.phantom`), a bank in memory, and every arrow of stage 1 called alone; at the
# end the same in one call. Run it as a script, `python examples/coarse_sketch.py [FOLDER] [--size 250x200]`, or cell
# by cell in an editor that knows `# %%`.

# %%
import argparse
import tempfile
from pathlib import Path

import numpy as np

from idekernels import (
    BankSettings,
    PatchBank,
    blend,
    coarse_sketch,
    compatibility,
    compose,
    evidence,
    gather,
    match,
    prepare,
    propagate,
    weigh,
)
from idemodel.files.contact_sheet import contact_sheet
from idemodel.files.images import write_image
from idemodel.phantom import phantom_pairs

parser = argparse.ArgumentParser()
parser.add_argument("folder", nargs="?", type=Path)
parser.add_argument("--size", default="250x200", help="rows x columns")
options = parser.parse_args()
folder = options.folder or Path(tempfile.mkdtemp(prefix="coarse-sketch-"))
height, width = (int(side) for side in options.size.split("x"))

# %% [markdown]
# ## A bank of twenty pairs, and a stranger to it

# %%
*pairs, stranger = phantom_pairs(21, height=height, width=width, seed=7)
bank = PatchBank.from_images(
    [pair.photo for pair in pairs],
    [pair.sketch for pair in pairs],
    settings=BankSettings(patch=10, overlap=5, radius=5),
)
grid = bank.grid()
print(f"{bank.images} pairs, {grid.shape[0]} x {grid.shape[1]} patches, {len(grid.edges)} edges")

# %% [markdown]
# ## Match: the ten nearest photo patches of every patch, with exact distances

# %%
ready = prepare(bank)
query = bank.query(stranger.photo)[None]  # (1 photo, 1 plane, H, W) uint8
candidates = match(query, ready, k=10)
print(f"backend {ready.backend}; nearest patch overall at distance {candidates.distance.min()}")

# %% [markdown]
# ## Gather, evidence, compatibility: what the weights are made from

# %%
patches = gather(candidates, ready)
found = evidence(query, patches, grid)
tables = compatibility(patches, grid)
np.testing.assert_array_equal(np.diagonal(found.gram, axis1=2, axis2=3), candidates.distance)  # one plane
print(f"made by the backend {found.backend}, that of the prepared bank, as all that follows")

# %% [markdown]
# ## Weigh: the Markov weight field, with a bound on how far it is from the optimum

# %%
field = weigh(found, tables, grid, method="mwf", alpha=0.5)
gap = float(field.kkt_residual[0] / field.objective[0])
print(f"objective {field.objective[0]:.6g}, at most {gap:.1e} of it above the optimum, after {field.sweeps[0]} sweeps")
mixed = blend(compose(patches, field), grid, how="feather")

# %% [markdown]
# ## Or propagate: one candidate a patch, and a seam between neighbours

# %%
labelling = propagate(candidates, tables, grid, alpha=0.5)
chosen = blend(compose(patches, labelling), grid, how="cut")

# %% [markdown]
# ## The same in one call

# %%
sketch = coarse_sketch(stranger.photo, ready, method="mwf")
apart = float(np.abs(mixed.pixels / 255.0 - sketch.pixels).max())
print(f"kernels one by one and coarse_sketch differ by at most {apart:.1e}")

# %%
columns = [
    ("photo", [stranger.photo]),
    ("mwf", [sketch.images()[0]]),
    ("mrf", [np.clip(np.rint(chosen.pixels[0, 0]), 0, 255).astype(np.uint8)]),
    ("truth", [stranger.sketch]),
]
folder.mkdir(parents=True, exist_ok=True)
write_image(folder / "coarse-sketch.png", contact_sheet(columns))
print(f"picture: {folder / 'coarse-sketch.png'}")
