"""The findings as a Markdown page, with the CSV files and pictures that it shows."""

import html
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from findings.evidence import VERDICTS

HEAD = """\
# What we found

Claims of the GenLabel paper ("GenLabel: Mixup Relabeling using Generative Models", ICML 2022,
https://arxiv.org/abs/2201.02354) on tables and toys, beside what our runs say. Every figure on this page is
computed from the results of these runs, or is the paper's.

**The rule.** Each claim says on which side of a value a figure lies: of no difference (0 points, half of
the tables that are no ties, a rank correlation of 0), or of a value that it names. It is **confirmed** if our
whole 95 % interval lies on the paper's side, **contradicted** if it lies on the other side, and **undecided**
if the value is in it, or there is too little for an interval. **not run** means that these runs lack the
method or the table; a dash, that the paper claims nothing. What is judged by the same rule, but said by no
place of the paper, is not counted in the table below. Intervals are Wilson's of shares and Student's of
means, each by itself: about one in twenty misses what it is about. Gains are points of accuracy.

"""
FOLDER = "found"  # beside the page


def escape(text):
    r"""Write a text so that Markdown shows it as it is, on one line.

    >>> escape("a|b <i> *c*")
    'a\\|b &lt;i&gt; \\*c\\*'
    """
    text = " ".join(str(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)


def table(heads, rows):
    """Write a table of texts."""
    head, *body = (" | ".join(map(escape, line)) for line in [heads, *rows])
    return "\n".join(f"| {line} |" for line in [head, " | ".join(["---"] * len(heads)), *body])


def render(sections, made_by, notices=()):
    """Write the page.

    Parameters
    ----------
    sections : list of Section
    made_by : str
        The command that wrote it.
    notices : iterable of str, default=()
        What a reader should know first.
    """
    parts = [HEAD, *(f"**{escape(notice)}**\n\n" for notice in notices), _overview(sections)]
    parts += [_section(section) for section in sections]
    return "".join(parts) + f"## This page\n\n{_code(made_by)}\n"


def _overview(sections):
    rows = []
    for section in sections:
        counts = Counter(finding.verdict for finding in section.findings if finding.side and finding.claimed)
        if counts:
            rows.append([section.title, *(str(counts[verdict]) for verdict in VERDICTS)])
    total = [str(sum(int(row[column]) for row in rows)) for column in range(1, len(VERDICTS) + 1)]
    return table(["claims", *VERDICTS], [*rows, ["all", *total]]) + "\n\n"


def _section(section):
    parts = [f"## {section.title}", section.lede]
    listed = section.findings if section.listed is None else section.listed
    if listed:
        rows = [
            [finding.claim, finding.place, finding.paper, "" if finding.n is None else finding.ours,
             "" if finding.n is None else f"{finding.n} {finding.over}", finding.verdict]
            for finding in listed
        ]  # fmt: skip
        parts.append(table(["claim", "where", "the paper", "ours (95 %)", "over", "verdict"], rows))
    for sheet in section.sheets:
        content = table(sheet.heads, sheet.rows)
        if sheet.folded:
            content = f"<details><summary>{html.escape(sheet.caption)}</summary>\n\n{content}\n\n</details>"
        else:
            content = f"{escape(sheet.caption)}\n\n{content}"
        parts.append(content)
    parts += [f"![{escape(label)}]({FOLDER}/{picture.name}.png)" for label, picture in section.pictures]
    if section.notes:
        parts.append("\n".join(f"- {note}" for note in section.notes))
    files = ", ".join(f"[{name}.csv]({FOLDER}/{name}.csv)" for name in section.frames)
    parts += [f"As CSV: {files}."] if files else []
    parts.append(_made(section))
    return "\n\n".join(part for part in parts if part) + "\n\n"


def _made(section):
    """How the section's runs were made."""
    if not section.commands:
        return ""
    lines = _code("\n".join(section.commands))
    facts = table(["run", "what", ""], section.account) if section.account else ""
    content = "\n\n".join(part for part in (lines, facts) if part)
    return f"<details><summary>How it was run</summary>\n\n{content}\n\n</details>"


def _code(text):
    """A block of code, with a fence that is longer than any in it."""
    fence = "`" * max([2, *map(len, re.findall("`+", text))]) + "`"
    return f"{fence}\n{text}\n{fence}"


def write(sections, folder, made_by, notices=()):
    """Write found.md into a folder and what it shows beside it; return the page's path.

    What an earlier page has left there and this one does not show is deleted.
    """
    folder = Path(folder)
    files = {f"{name}.csv": frame for section in sections for name, frame in section.frames.items()}
    rows = [
        {"section": section.title} | finding.row() for section in sections for finding in section.findings
    ]
    files["claims.csv"] = pd.DataFrame(rows)
    contents = {
        name: frame.to_csv(index=False, lineterminator="\n").encode() for name, frame in files.items()
    }
    pictures = [picture for section in sections for _, picture in section.pictures]
    contents |= {f"{picture.name}.png": picture.png for picture in pictures}
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for path in (folder / FOLDER).iterdir():
        if path.suffix in (".csv", ".png") and path.name not in contents:
            path.unlink()
    for name, content in contents.items():
        (folder / FOLDER / name).write_bytes(content)
    page = folder / "found.md"
    page.write_text(render(sections, made_by, notices), encoding="utf-8")
    return page
