"""What a device's GenICam description says of its features: their order, categories, units, and who selects whom.

The values come from the device, by libaravis; its description is read here for what that library does not tell.
"""

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import msgspec

# Nodes that can be a feature (GenICam Standard 2.1, 2.8); of the others the features are made.
_FEATURES = frozenset(
    [
        "Boolean",
        "Command",
        "Converter",
        "Enumeration",
        "Float",
        "FloatReg",
        "IntConverter",
        "IntReg",
        "IntSwissKnife",
        "Integer",
        "MaskedIntReg",
        "String",
        "StringReg",
        "SwissKnife",
    ]
)
# SFNC's selectors by how what they select begins: descriptions of simple cameras do not name them (pSelected).
_SFNC_SELECTORS = {
    "Trigger": "TriggerSelector",
    "LineMode": "LineSelector",
    "LineSource": "LineSelector",
    "LineInverter": "LineSelector",
    "LineStatus": "LineSelector",
    "LineDebouncer": "LineSelector",
    "Counter": "CounterSelector",
    "Timer": "TimerSelector",
    "ChunkEnable": "ChunkSelector",
    "UserOutputValue": "UserOutputSelector",
}
# No description is nested deeper; one that names itself in a circle ends here.
_DEEPEST = 16


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A feature as described: `path` names its categories, outermost first."""

    name: str
    tag: str
    path: tuple[str, ...] = ()
    unit: str | None = None
    description: str | None = None


class Description:
    """A parsed description. One that cannot be parsed names no feature: the device still has them by name."""

    def __init__(self, text: str) -> None:
        self._nodes: dict[str, ET.Element] = {}
        self._selectors: dict[str, list[str]] = {}
        for element in _elements(text):
            name = element.get("Name")
            if name:
                self._nodes[name] = element
                for selected in _texts(element, "pSelected"):
                    self._selectors.setdefault(selected, []).append(name)

    def features(self) -> Iterator[Node]:
        """The features below the category Root in order, each once."""
        seen = set[str]()
        for name, path in self._below("Root", ()):
            if name not in seen:
                seen.add(name)
                yield self._node(name, path)

    def names(self) -> list[str]:
        """The names of everything that can be a feature, in the order of the description."""
        return [name for name, element in self._nodes.items() if element.tag in _FEATURES]

    def selectors_of(self, name: str) -> list[str]:
        """The features that say which of several `name` is meant; empty where there is but one."""
        named = self._selectors.get(name)
        if named:
            return named
        standard = {selector for start, selector in _SFNC_SELECTORS.items() if name.startswith(start)} - {name}
        return [selector for selector in standard if selector in self._nodes]

    def is_selector(self, name: str) -> bool:
        """Whether other features mean something else after this one is set."""
        return name.endswith("Selector") or any(name in selectors for selectors in self._selectors.values())

    def _node(self, name: str, path: tuple[str, ...]) -> Node:
        element = self._nodes[name]
        unit = _text(element, "Unit")
        value = _text(element, "pValue")
        if unit is None and value in self._nodes:
            unit = _text(self._nodes[value], "Unit")
        told = _text(element, "Description") or _text(element, "ToolTip")
        return Node(
            name=name, tag=element.tag, path=path, unit=unit, description=re.sub(r"\s+", " ", told) if told else None
        )

    def _below(self, category: str, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
        if category not in self._nodes or len(path) > _DEEPEST:
            return
        for name in _texts(self._nodes[category], "pFeature"):
            element = self._nodes.get(name)
            if element is None:
                continue
            if element.tag == "Category":
                yield from self._below(name, (*path, name))
            elif element.tag in _FEATURES:
                yield name, path


def _elements(text: str) -> Iterator[ET.Element]:
    """Every node, with its namespace (which differs by version) taken off all names."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - no entities are resolved, and the device's own library parses it too
    except ET.ParseError:
        return
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    yield from root.iter()


def _texts(element: ET.Element, tag: str) -> list[str]:
    return [text for child in element.iter(tag) if (text := (child.text or "").strip())]


def _text(element: ET.Element, tag: str) -> str | None:
    return next(iter(_texts(element, tag)), None)
