"""HTML and SVG as a tree: what is text stays text, whatever a file is called.

Built on the standard library's tree, which escapes when it writes; nothing here joins strings into tags.
"""

from collections.abc import Iterable
from typing import cast
from xml.etree.ElementTree import Element, tostring

# What goes between a tag's brackets: nothing at all, text, another tag, or several of them.
Child = Element | str | Iterable["Child"] | None


def tag(name: str, /, *children: Child, **attributes: str | float) -> Element:
    """A tag. In attributes' names `_` stands for `-`, and one at the end for nothing: `class_`, `stroke_width`."""
    made = Element(name, {key.rstrip("_").replace("_", "-"): _text(value) for key, value in attributes.items()})
    for child in children:
        _append(made, child)
    return made


def page(root: Element) -> str:
    """The whole document."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def _append(parent: Element, child: Child) -> None:
    if isinstance(child, Element):
        parent.append(cast("Element", child))  # the type checker loses what it is an element of
    elif isinstance(child, str):
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + child
        else:
            parent.text = (parent.text or "") + child
    else:
        for one in child or ():
            _append(parent, one)
