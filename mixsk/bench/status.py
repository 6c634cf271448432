"""How far a run is, read from its folder."""

from dataclasses import dataclass, replace

from mixsk.bench.folder import Folder
from mixsk.bench.lock import in_use
from mixsk.bench.plan import planned

LATEST = 200  # results from which the rate is estimated


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes
    ----------
    settings : dict
        What is run.
    planned, done, failed : dict of str to int
        Number of cells by method.
    running : bool
        Whether a process of this machine holds the folder.
    seconds_left : float
        Estimate from the latest results; NaN if there are too few.
    """

    settings: dict
    planned: dict
    done: dict
    failed: dict
    running: bool
    seconds_left: float

    @property
    def left(self):
        """How many cells have no result yet."""
        return sum(self.planned.values()) - sum(self.done.values()) - sum(self.failed.values())


def read_status(folder):
    """Tell how far a run is, without reading its results.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    status : Status

    Raises
    ------
    ValueError
        If it is not the folder of a run.
    """
    run = Folder(folder)
    settings = run.settings()
    files = run.files()
    counts = {name: dict.fromkeys(settings["methods"], 0) for name in ("planned", "done", "failed")}
    for cell in planned(settings):
        counts["planned"][cell.method] += 1
        if str(cell.path()) in files:
            counts["done"][cell.method] += 1
        elif str(cell.path("failed")) in files:
            counts["failed"][cell.method] += 1
    running = in_use(folder)
    found = Status(settings, **counts, running=running, seconds_left=float("nan"))
    return replace(found, seconds_left=found.left * _seconds_each([file.st_mtime for file in files.values()]))


def _seconds_each(times):
    """Mean distance of the latest results; NaN if there are fewer than two."""
    times = sorted(times)[-LATEST:]
    return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else float("nan")
