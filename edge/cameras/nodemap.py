"""A GenICam device by EMVA's reference library, which pypylon and the `genicam` wheel both wrap.

The wrappers have the same objects under two spellings: `node.get_access_mode()` and `node.GetAccessMode()`. Neither has
type stubs, so what comes from them is Any and becomes a Python value here.
"""

import difflib
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from edge.camera_config import FeatureValue
from edge.cameras.aravis import AravisError, DeviceError
from edge.cameras.aravis_device import FeatureKind
from edge.cameras.genicam_xml import Node

# EInterfaceType and EAccessMode of GenApi.
_CATEGORY, _COMMAND = 8, 4
_KINDS = {
    2: FeatureKind.INTEGER,
    3: FeatureKind.BOOLEAN,
    5: FeatureKind.FLOAT,
    6: FeatureKind.STRING,
    9: FeatureKind.ENUMERATION,
}
_WRITE_ONLY, _READ_ONLY, _READ_WRITE = 2, 3, 4
_PYTHON: dict[FeatureKind, Callable[[Any], FeatureValue]] = {
    FeatureKind.INTEGER: int,
    FeatureKind.BOOLEAN: bool,
    FeatureKind.FLOAT: float,
    FeatureKind.STRING: str,
    FeatureKind.ENUMERATION: str,
}

Spelling = Callable[[str], str]
Errors = tuple[type[Exception], ...]


def snake(name: str) -> str:
    """As the `genicam` wheel spells it."""
    return name


def camel(name: str) -> str:
    """As pypylon spells it."""
    return "".join(part.capitalize() for part in name.split("_"))


class Nodemap:
    """`edge.cameras.genicam_device.GenicamDevice` on a node map. One call at a time goes to the device.

    `refusals` are what the library raises for a setting, `losses` what it or the transport raises when nothing answers;
    those come out as a time-out.
    """

    def __init__(self, nodemap: Any, spelling: Spelling, refusals: Errors, losses: Errors) -> None:
        self._nodemap, self._spelling = nodemap, spelling
        self._refusals, self._losses = refusals, losses
        self._lock = threading.RLock()
        self.description = Features(self)

    def holding(self) -> threading.RLock:
        """For several calls that belong together: `with device.holding():`."""
        return self._lock

    @contextmanager
    def _asking(self) -> Generator[None, None, None]:
        with self._lock:
            try:
                yield
            except self._losses as problem:
                raise AravisError(_first_clause(problem), DeviceError.TIMEOUT) from None
            except self._refusals as problem:
                raise AravisError(_first_clause(problem), None) from None

    def part(self, thing: Any, name: str) -> Any:
        """An attribute of one of the library's objects."""
        return getattr(thing, self._spelling(name))

    def node(self, name: str) -> Any | None:
        """The node of that name, or None."""
        with self._lock:
            try:
                node = self.part(self._nodemap, "get_node")(name)
                # pypylon has a node that is none; the other raises.
                return node if self.part(node, "node") is not None else None
            except self._refusals:
                return None

    def _known(self, name: str) -> Any:
        node = self.node(name)
        if node is None:
            raise AravisError(f"[{name}] not found", None)
        return node

    def type_of(self, node: Any) -> int:
        """GenApi's EInterfaceType."""
        return int(self.part(self.part(node, "node"), "principal_interface_type"))

    def _access(self, name: str) -> int:
        with self._asking():
            node = self.node(name)
            return 0 if node is None else int(self.part(node, "get_access_mode")())

    # --- what the settings need

    def execute(self, command: str) -> None:
        """Runs a command feature, such as TriggerSoftware."""
        with self._asking():
            self.part(self._known(command), "execute")()

    def feature_kind(self, name: str) -> FeatureKind | None:
        """What the feature holds; None when there is none of that name, or it holds no value."""
        node = self.node(name)
        return None if node is None else _KINDS.get(self.type_of(node))

    def is_command(self, name: str) -> bool:
        """Whether the feature can be executed."""
        node = self.node(name)
        return node is not None and self.type_of(node) == _COMMAND

    def is_available(self, name: str) -> bool:
        """Whether the feature exists and can be used as the device is set now."""
        return self._access(name) >= _WRITE_ONLY

    def is_read_only(self, name: str) -> bool:
        """Whether the feature cannot be written as the device is set now."""
        return self._access(name) == _READ_ONLY

    def similar_features(self, name: str) -> list[str]:
        """The names of its features closest to `name`, best first."""
        return difflib.get_close_matches(name, self.description.names())

    def entries(self, name: str) -> list[str]:
        """The values an enumeration feature can take now."""
        with self._asking():
            entries = self.part(self._known(name), "entries")
            usable = (entry for entry in entries if self.part(entry, "get_access_mode")() >= _READ_ONLY)
            return [str(self.part(entry, "symbolic")) for entry in usable]

    def bounds(self, name: str, kind: FeatureKind) -> tuple[float, float]:
        """The smallest and largest value of a FLOAT or INTEGER feature."""
        with self._asking():
            node = self._known(name)
            return self.part(node, "min"), self.part(node, "max")

    def step(self, name: str, kind: FeatureKind) -> float:
        """The distance between two values of a FLOAT or INTEGER feature; 0 where there is none."""
        with suppress(AravisError), self._asking():
            return float(self.part(self._known(name), "inc"))
        return 0.0

    def get(self, name: str, kind: FeatureKind) -> FeatureValue:
        """The feature's value: a bool, int, float or str as its kind says."""
        with self._asking():
            return _PYTHON[kind](self.part(self._known(name), "value"))

    def integer(self, name: str) -> int:
        """The value of an INTEGER feature."""
        return int(self.get(name, FeatureKind.INTEGER))

    def number(self, name: str) -> int:
        """The number behind an entry of an enumeration."""
        with self._asking():
            return int(self.part(self._known(name), "get_int_value")())

    def set(self, name: str, kind: FeatureKind, value: FeatureValue) -> None:
        """Writes the feature."""
        with self._asking():
            self.part(self._known(name), "set_value")(_PYTHON[kind](value))


def _first_clause(problem: Exception) -> str:
    """What follows is a place in the library's source."""
    return str(problem).partition(" : ")[0]


class Features:
    """What the device says of its features: `edge.cameras.genicam_device.Description`."""

    def __init__(self, device: Nodemap) -> None:
        self._device = device

    def features(self) -> Iterator[Node]:
        """The features below the category Root in order, each once."""
        seen = set[str]()
        for node, path in self._below(self._device.node("Root"), ()):
            name = self._name(node)
            if name not in seen:
                seen.add(name)
                yield self._node(node, path)

    def names(self) -> list[str]:
        """The names of the features below the category Root."""
        return [node.name for node in self.features()]

    def selectors_of(self, name: str) -> list[str]:
        """The features that say which of several `name` is meant; empty where there is but one."""
        node = self._device.node(name)
        if node is None:
            return []
        part = self._device.part
        known = part(node, "node")
        # pypylon has no property of that name.
        selecting = part(known, "get_selecting_features")() if hasattr(known, "GetName") else known.selecting_features
        return [self._name(selector) for selector in selecting]

    def is_selector(self, name: str) -> bool:
        """Whether other features mean something else after this one is set."""
        node = self._device.node(name)
        return node is not None and bool(self._device.part(self._device.part(node, "node"), "is_selector")())

    def _name(self, node: Any) -> str:
        return str(self._device.part(self._device.part(node, "node"), "name"))

    def _below(self, category: Any, path: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
        if category is None:
            return
        for node in self._device.part(category, "features"):
            kind = self._device.type_of(node)
            if kind == _CATEGORY:
                yield from self._below(node, (*path, self._name(node)))
            elif kind == _COMMAND or kind in _KINDS:
                yield node, path

    def _node(self, node: Any, path: tuple[str, ...]) -> Node:
        described = self._device.part(node, "node")
        kind = self._device.type_of(node)
        has_unit = _KINDS.get(kind) in (FeatureKind.FLOAT, FeatureKind.INTEGER)
        unit = str(self._device.part(node, "unit")) if has_unit else ""
        told = str(self._device.part(described, "description") or "")
        return Node(name=self._name(node), tag=str(kind), path=path, unit=unit or None, description=told or None)
