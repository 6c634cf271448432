"""Training: batches on the device, the skorch net, best weights."""

from mixsk.engine.iterator import CleanBatches, Part, TrainingBatches
from mixsk.engine.net import MixNet, Plan, mean_logits
from mixsk.engine.schedule import SCHEDULES, make_schedule
from mixsk.engine.snapshot import Patience, Snapshot

__all__ = [
    "SCHEDULES",
    "CleanBatches",
    "MixNet",
    "Part",
    "Patience",
    "Plan",
    "Snapshot",
    "TrainingBatches",
    "make_schedule",
    "mean_logits",
]
