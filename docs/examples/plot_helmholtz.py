"""
Waves: accuracy, cost and what a datum sees
===========================================

The operator ``helmholtz`` maps squared slowness to the pressure at receivers, at one or more
frequencies. Here its data are held against the Green's function of a homogeneous medium, and one
gradient and one Jacobian are computed and counted.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.special import hankel1

from mempost.core.counters import counting
from mempost.core.streams import Streams
from mempost.plugins.datasets.gaussian_random_field import GaussianRandomField
from mempost.plugins.operators.helmholtz import Helmholtz
from mempost.plugins.operators.kl_cosine import KLCosine

warnings.simplefilter("ignore", UserWarning)  # coarse grids are wanted here

# %%
# Convergence
# -----------
# In a homogeneous medium of wavenumber :math:`k` the pressure of a point source is
# :math:`-\tfrac{i}{4} H_0^{(1)}(k r)`. Sources and receivers lie between the nodes.


def error(stencil, spacing):
    """Relative error of the data at 6 Hz and 2 km/s."""
    n = round(2 / spacing)
    operator = Helmholtz(
        shape=(n, n),
        spacing=spacing,
        stencil=stencil,
        receivers={"start": (0.025, 1.975), "stop": (1.975, 1.975), "number": 50},
    )
    data = operator(torch.full((1, n, n), 0.25, dtype=torch.float64))[0, 0].numpy()
    gaps = operator.sources.numpy()[:, None] - operator.receivers.numpy()
    exact = -0.25j * hankel1(0, 6 * np.pi * np.linalg.norm(gaps, axis=-1))
    return np.linalg.norm(data - exact) / np.linalg.norm(exact)


spacings = np.array([0.05, 0.04, 0.025, 0.02, 0.0125])
figure, ax = plt.subplots(figsize=(4.6, 3.4), layout="constrained")
for stencil, order, colour in (("five_point", 2, "#D55E00"), ("compact", 4, "#0072B2")):
    errors = [error(stencil, spacing) for spacing in spacings]
    ax.loglog(spacings, errors, "o-", color=colour, label=stencil)
    guide = errors[-2] * (spacings[1:] / spacings[-2]) ** order * 1.8
    ax.loglog(spacings[1:], guide, ":", color=colour, label=f"order {order}")
ax.set_xlabel("spacing (km)")
ax.set_ylabel("relative error of the data")
ax.set_xticks([0.0125, 0.02, 0.03, 0.05], ["0.0125", "0.02", "0.03", "0.05"])
ax.minorticks_off()
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, fontsize="small")
plt.show()

# %%
# One factorisation, all derivatives
# ----------------------------------
# The discrete operator is complex-symmetric, so that one factorisation gives fields, adjoints and
# tangents. The Jacobian follows from one solve for each source and each receiver.

waves = Helmholtz() @ KLCosine(shape=(50, 50))
z = Streams(0, "truth").at().normal((1, 100))
observed = waves(torch.zeros_like(z))
with counting() as counts:
    data, pullback = torch.func.vjp(waves, z)
    (gradient,) = pullback(data - observed)
print("gradient:", dict(counts))
with counting() as counts:
    data, jacobian = waves.jacobian(z)
print("Jacobian:", tuple(jacobian.shape), dict(counts))

# %%
# What a series keeps
# -------------------
# A cosine series with 10 x 10 modes is a strong restriction. The reference basis leaves out the
# quarter wave and is clamped at two sides; a complete basis keeps everything.

fields = GaussianRandomField(n=64, n_train=200, n_held_out=0).load(Streams(0, "data")).train
for label, series in {
    "10 x 10 modes from 1": KLCosine(shape=(64, 64)),
    "10 x 10 modes from 0": KLCosine(shape=(64, 64), first_index=0),
    "64 x 64 modes from 0": KLCosine(shape=(64, 64), modes=(64, 64), first_index=0),
}.items():
    kept = series.energy_kept(fields)
    print(f"{label}: keeps {kept.mean():.1%} of the energy around {series.mean:g}")
