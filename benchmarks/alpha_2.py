"""The mixing methods of the GenLabel paper's protocol with lam ~ Beta(2, 2) instead of Beta(1, 1).

    mixsk bench run --methods benchmarks/alpha_2.py --protocol paper --module linear --parity ...

The paper's Figure 6 has both. The other methods of its Table 3 have no alpha: plain training and the
generative classifier mix nothing, and AdaMixup's lam comes from its policy.
"""

from dataclasses import replace

from mixsk.bench.methods import METHODS as KNOWN

NAMES = ("mixup", "mixup-exclude-mi", "genlabel-gm", "genlabel-kde", "genlabel-cv")
METHODS = {
    f"{name}-alpha-2": replace(KNOWN[name], params=KNOWN[name].params | {"alpha": 2}) for name in NAMES
}
