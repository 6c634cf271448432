"""Matplotlib's SVG as an element of a page: its colours those of the page, its ids its own, no address."""

import re
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def inline(svg, name, label, ink, points=()):
    """Return the <svg> element of a figure, fit to stand in HTML beside others.

    Parameters
    ----------
    svg : bytes
        As matplotlib saves it.
    name : str
        Prefix of its ids, which a page may have once.
    label : str
        What it shows, for those who do not see it.
    ink : str
        The colour that becomes that of the text around it.
    points : sequence of str, default=()
        Titles of the points of the collection with the gid "points", which a pointer shows.

    Returns
    -------
    element : str
    """
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{SVG}metadata", f"{SVG}style"):  # what the latter says, the page's style does
                parent.remove(child)
    if points:
        _add_titles(root, points)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {_bare(key): value for key, value in element.attrib.items()}
    _own_ids(root, name)
    width, height = (float(root.attrib.pop(side).removesuffix("pt")) for side in ("width", "height"))
    root.attrib.pop("version", None)
    root.attrib |= {"role": "img", "aria-label": label}
    root.attrib["style"] = f"max-width: {width * 4 / 3:.0f}px; aspect-ratio: {width:.0f} / {height:.0f}"
    text = ElementTree.tostring(root, encoding="unicode").replace(ink, "currentColor")
    return re.sub(r"\n\s*", "\n", text)


def _bare(key):
    return key.rpartition("}")[2]


def _add_titles(root, points):
    """Put a <title> into each point's element, which are in the order of the points."""
    (group,) = (element for element in root.iter(f"{SVG}g") if element.get("id") == "points")
    shapes = {shape for defs in group.iter(f"{SVG}defs") for shape in defs.iter()}
    drawn = [
        element
        for element in group.iter()
        if element.tag in (f"{SVG}use", f"{SVG}path") and element not in shapes
    ]
    for element, title in zip(drawn, points, strict=True):
        ElementTree.SubElement(element, f"{SVG}title").text = title


def _own_ids(root, name):
    """Keep the ids that something refers to, with a prefix."""
    refers = re.compile(r"url\(#([^)]+)\)")
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            used.update(refers.findall(value))
            if key == "href":
                used.add(value.removeprefix("#"))
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                if value in used:
                    element.set(key, f"{name}-{value}")
                else:
                    del element.attrib[key]
            elif key == "href":
                element.set(key, f"#{name}-{value.removeprefix('#')}")
            else:
                element.set(key, refers.sub(rf"url(#{name}-\1)", value))
