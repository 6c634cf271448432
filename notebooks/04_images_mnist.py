# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Mixed digits: four ways to train LeNet
#
# Mixup began with images: add two of them in shares lam and 1 - lam, and their labels in the same shares.
# Since then both halves of that sentence were changed. Here are four of the results, on handwritten digits
# with few labels:
#
# - **mixup** (Zhang et al., ICLR 2018): as above;
# - **CutMix** (Yun et al., ICCV 2019): a box of one image goes into the other, and the label follows its
#   area;
# - **Infinite Class Mixup** (Mensink and Mettes, BMVC 2023): mixed like mixup, but each mixed image is a
#   class of its own, to be told from the other mixed images of its batch;
# - **LaMix** ("Bypassing the Random Input Mixing in Mixup"): always the mean of two images, while lam moves
#   the label alone, and half of each label is learnt.
#
# *Vanilla* training mixes nothing. Everything below is small, to run within a minute: few images, a network
# of 1998, a few hundred steps. It shows how to use all this and how to look inside; the numbers are no
# benchmark.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

from mixsk import InfiniteMixupClassifier, LaMixClassifier, MixupClassifier
from mixsk.datasets import load_images
from mixsk.plots import (
    ActivationMapDisplay,
    ConfidenceDisplay,
    MixedImagesDisplay,
    ReliabilityDisplay,
    SoftTargets,
    SoftTargetsDisplay,
)

# %% [markdown]
# ## The images
#
# If a part of MNIST is at hand (`load_images` says which files; the environment variable `MIXSK_DATA` is
# their folder), these are MNIST's. If not, they are scikit-learn's own digits, which are smaller, each pixel
# drawn as a square of 2 x 2.

# %%
try:
    mnist = load_images("mnist-small")
    source, X, y = "MNIST (a part)", mnist.data, mnist.target
    train, test = (mnist.subsets[part] for part in ("train", "test"))
except FileNotFoundError:
    digits = load_digits()
    source, X, y = "scikit-learn's digits", digits.images.repeat(2, axis=1).repeat(2, axis=2), digits.target
    X = np.round(X * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(np.arange(len(y)), test_size=500, stratify=y, random_state=0)

train, _ = train_test_split(train, train_size=500, stratify=y[train], random_state=0)
X_train, y_train, X_test, y_test = X[train], y[train], X[test], y[test]
print(f"{source}: {len(y_train)} images of {X.shape[1]} x {X.shape[2]} to train on, {len(y_test)} to test")

# %% [markdown]
# ## Five classifiers, a line each
#
# Images are arrays of bytes; scaling them is the classifier's business. All start from the same weights, see
# the same number of images, and have the optimiser and schedule that `module="lenet"` comes with.

# %%
common = {"module": "lenet", "max_epochs": 30, "n_threads": 1, "random_state": 0}
methods = {
    "vanilla": MixupClassifier(mix=None, **common),
    "mixup": MixupClassifier(mix="linear", **common),
    "CutMix": MixupClassifier(mix="cutmix", mix_prob=0.5, **common),
    "Infinite": InfiniteMixupClassifier(mix="linear", **common),
    "LaMix": LaMixClassifier(callbacks=[SoftTargets()], **common),
}
for clf in methods.values():
    clf.fit(X_train, y_train)

# %%
rows = []
for name, clf in methods.items():
    proba = clf.predict_proba(X_test)
    rows.append(
        {
            "method": name,
            "accuracy": accuracy_score(y_test, clf.classes_[proba.argmax(axis=1)]),
            "log loss": log_loss(y_test, proba),
            "mean confidence": proba.max(axis=1).mean(),
            "seconds": clf.history_["dur"].sum(),
        }
    )
print(pd.DataFrame(rows).round(3).to_string(index=False))

# %% [markdown]
# With 500 test images, an accuracy is known to about a point either way, so small differences say nothing.
# The log losses differ for another reason, too: LaMix never trains on a label that is sure. With 10 classes
# its largest possible target is 0.62, its probabilities follow, and its log loss pays for that. Rank it by
# accuracy, or calibrate it (`calibrate=True`).
#
# ## What they are trained on
#
# Each column is a pair: the image, its partner, what is made of them, and the label of that. `lam` is set
# here, so that the methods can be compared; without it the pairs have the lam of training.

# %%
lam = np.linspace(0.2, 0.8, 8)
for name in ("mixup", "CutMix", "LaMix"):
    display = MixedImagesDisplay.from_estimator(methods[name], X_train, y_train, lam=lam, random_state=0)
    display.figure_.suptitle(name)

# %% [markdown]
# CutMix's label does not know what the box hides: where it takes nothing but background, the label has two
# classes and the image shows one. LaMix's images do not tell lam at all; its label does, and what is left of
# it is spread over all classes by the second head.
#
# ## Between two digits
#
# Figure 4 of the Infinite Class Mixup paper, for all five. Pairs of test images of different classes are
# mixed at each lam. Left: the probability of both classes; on the dotted line it is their share of the
# mixture. Middle: the squared norm of what the last layer sees, as part of its largest mean. Right: by how
# much the score of the first class is above that of the second.

# %%
fig, axes = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
for ax, score in zip(axes, ("proba", "norm", "difference"), strict=True):
    for name, clf in methods.items():
        display = ConfidenceDisplay.from_estimator(
            clf, X_test, y_test, score=score, n_pairs=100, name=name, ax=ax
        )
        if score == "norm":
            line = display.line_
            line.set_ydata(line.get_ydata() / line.get_ydata().max())
    if score == "norm":
        ax.set(ylim=(0, 1.05), ylabel="mean squared norm / its largest")
for ax in axes[:2]:
    ax.get_legend().remove()

# %% [markdown]
# The paper finds, of a ResNet-34 on CIFAR-100, that mixup's norm hardly changes with lam while Infinite's is
# larger at the ends, and that Infinite's scores of both classes part more steeply. Of this small network the
# second is seen again (Infinite against mixup; those of vanilla training, which nothing holds back, part
# most), the first is not: all norms fall towards the middle, mixup's as much as Infinite's.
#
# ## Sure, and right?
#
# A point below the diagonal is a group of test images for which the network is surer than it is right.

# %%
fig, ax = plt.subplots(figsize=(6, 6), layout="constrained")
for name in ("vanilla", "mixup", "LaMix"):
    ReliabilityDisplay.from_estimator(methods[name], X_test, y_test, n_bins=10, name=name, ax=ax)

# %% [markdown]
# ## Labels that learn
#
# LaMix's second head gives each image a label of its own, and learns. The callback `SoftTargets` wrote down,
# epoch by epoch, what that made of the labels of the same training images. Left, as in the paper's Figure 2,
# the largest and the second entry of mixed images' labels; then, as in Figure 3, all entries of the labels of
# images that are not mixed, and of the learnt part alone.

# %%
fig, axes = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
SoftTargetsDisplay.from_estimator(methods["LaMix"], ax=axes[0])
for ax, what in zip(axes[1:], ("clean", "global"), strict=True):
    SoftTargetsDisplay.from_estimator(methods["LaMix"], what=what, style="distribution", ax=ax)

# %% [markdown]
# At first the learnt part says nothing: each class has 0.1. No entry of it can exceed e / (e + 9) = 0.23, so
# that images which are not mixed end with at most 0.5 + 0.5 * 0.23 = 0.62 for their class.
#
# ## Where they look
#
# Activation maps: bright is where the network finds what speaks for the class above the image. LeNet does not
# average its last features over the image, as Zhou et al. (CVPR 2016) ask, so that these maps are Grad-CAM's;
# the display says which. `alpha=0` draws the images alone.

# %%
shown = [np.flatnonzero(y_test == digit)[0] for digit in range(8)]
fig, axes = plt.subplots(4, 8, figsize=(11, 6.2), layout="constrained")
for row, name in zip(axes[1:], ("mixup", "CutMix", "LaMix"), strict=True):
    display = ActivationMapDisplay.from_estimator(
        methods[name], X_test[shown], labels=y_test[shown], axes=row
    )
    row[0].set_ylabel(name)
display.plot(axes[0], alpha=0, titles=False)
print(display.method)

# %% [markdown]
# ## On your own images
#
# - `MixupClassifier(module="resnet18").fit(X, y)` takes arrays of shape (n, H, W), (n, H, W, C) or (n, C, H,
#   W), or a `torch.utils.data.Dataset`; on a GPU if there is one.
# - Flips and crops are the encoder's: `encoder=ImageEncoder(augment="crop-flip")`. Digits would not survive
#   the flip.
# - `mix="puzzle"` cuts where the network finds something, at the price of another forward and backward.
