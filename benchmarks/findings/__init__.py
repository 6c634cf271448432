"""What runs of `mixsk bench` say about the GenLabel paper's claims; `benchmarks/found.py` writes it down.

Source: "GenLabel: Mixup Relabeling using Generative Models" (ICML 2022), https://arxiv.org/abs/2201.02354
"""
