"""What the folder of a run tells without reading a result: its settings, and which cells have ended."""

import json
import os
from contextlib import suppress
from pathlib import Path

FORMAT = 1


class Folder:
    """A run's folder.

    Parameters
    ----------
    folder : str or Path
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    @property
    def exists(self):
        """Whether a run has begun here."""
        return (self.folder / "run.json").exists()

    def settings(self):
        """Return what `begin` has written.

        Raises
        ------
        ValueError
            If the folder is no run's, or of a version of mixsk that writes it in another way.
        """
        try:
            settings = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ValueError(
                f"{self.folder} is not the folder of a run: it has no run.json. `mixsk bench run --out "
                "FOLDER` makes one."
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{self.folder / 'run.json'} is damaged ({error}); delete the folder."
            ) from error
        if settings.get("format") != FORMAT:
            raise ValueError(
                f"{self.folder} was written by another version of mixsk (format {settings.get('format')!r}, "
                f"this one reads {FORMAT}); choose another folder."
            )
        return settings

    def has(self, cell, status="ok"):
        """Whether the cell has a result, of success or of failure."""
        return (self.folder / cell.path(status)).exists()

    def files(self):
        """Return {path in the folder: os.stat_result} of all results, damaged ones too."""
        found = {}
        for table in _entries(self.folder / "cells"):
            for method in _entries(table):
                for file in _entries(method):
                    if file.name.endswith(".parquet"):
                        with suppress(FileNotFoundError):  # a failure that has just become a success
                            found[str(Path("cells", table.name, method.name, file.name))] = file.stat()
        return found


def _entries(folder):
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
