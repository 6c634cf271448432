"""Misspelt names: an error that offers the nearest known ones."""

from difflib import get_close_matches


def check_known(what, name, known):
    """Return `name` if it is one of `known`; else raise a ValueError that offers the nearest names.

    Examples
    --------
    >>> check_known("method", "mixpu", ["vanilla", "mixup"])
    Traceback (most recent call last):
    ...
    ValueError: unknown method 'mixpu', did you mean 'mixup'? Known: vanilla, mixup.
    """
    if name in known:
        return name
    nearest = get_close_matches(str(name), known, n=3)
    hint = f", did you mean {' or '.join(map(repr, nearest))}?" if nearest else "."
    raise ValueError(f"unknown {what} {name!r}{hint} Known: {', '.join(known) or 'none'}.")
