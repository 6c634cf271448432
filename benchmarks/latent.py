"""GenLabel (NN) in the latent space, of the GenLabel paper's Tables 5 and 7.

    mixsk bench run --methods genlabel-latent,benchmarks/latent.py --protocol paper --module mlp --parity ...

NOTE[DIFF]: the figures that the paper calls "GenLabel (NN)" are, by its code, the hard label of the nearest
training row in input space (`density="nn-label"`). This is what its text describes: a density by nearest
neighbours at the penultimate layer.
"""

from dataclasses import replace

from mixsk.bench.methods import METHODS as KNOWN

LATENT = KNOWN["genlabel-latent"]
METHODS = {"genlabel-latent-nn": replace(LATENT, params=LATENT.params | {"density": "nn"})}
