"""What commands say: lines as they are, times and errors as one reads them."""


def say(console, text, style=None):
    """Print a line as it is: no markup, numbers not coloured, paths and messages not broken."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def duration(seconds):
    """Write a time as one reads it.

    Examples
    --------
    >>> duration(45), duration(200), duration(9000)
    ('45 s', '3 min', '2 h 30 min')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def last_line(error):
    r"""The line of an error that says most: of a traceback the last, else the first.

    Examples
    --------
    >>> last_line("Traceback (most recent call last):\n  ...\nValueError: no rows")
    'ValueError: no rows'
    >>> last_line("killed at its limit of 60 s.\nIts last output: ...")
    'killed at its limit of 60 s.'
    """
    lines = error.strip().splitlines() or ["no message"]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]
