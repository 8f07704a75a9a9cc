"""What a GenICam device must be able to do for its settings to be applied, whichever library has it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from edge.camera_config import FeatureValue
from edge.cameras.aravis_device import FeatureKind
from edge.cameras.genicam_xml import Node


class Description(Protocol):
    """What a device says of its features."""

    def features(self) -> Iterator[Node]:
        """The features below the category Root in order, each once."""
        ...

    def names(self) -> list[str]:
        """The names of everything that can be a feature."""
        ...

    def selectors_of(self, name: str) -> list[str]:
        """The features that say which of several `name` is meant."""
        ...

    def is_selector(self, name: str) -> bool:
        """Whether other features mean something else after this one is set."""
        ...


class GenicamDevice(Protocol):
    """An open device. Every call raises AravisError for what the device or its library refuses."""

    @property
    def description(self) -> Description:
        """What the device says of its features."""
        ...

    def execute(self, command: str) -> None:
        """Runs a command feature, such as TriggerSoftware."""
        ...

    def feature_kind(self, name: str) -> FeatureKind | None:
        """What the feature holds; None when there is none of that name, or it holds no value."""
        ...

    def is_command(self, name: str) -> bool:
        """Whether the feature can be executed."""
        ...

    def is_available(self, name: str) -> bool:
        """Whether the feature exists and can be used as the device is set now."""
        ...

    def is_read_only(self, name: str) -> bool:
        """Whether the feature cannot be written as the device is set now."""
        ...

    def similar_features(self, name: str) -> list[str]:
        """The names closest to `name`, best first."""
        ...

    def entries(self, name: str) -> list[str]:
        """The values an enumeration feature can take now."""
        ...

    def bounds(self, name: str, kind: FeatureKind) -> tuple[float, float]:
        """The smallest and largest value of a FLOAT or INTEGER feature."""
        ...

    def step(self, name: str, kind: FeatureKind) -> float:
        """The distance between two values of a FLOAT or INTEGER feature; 0 where there is none."""
        ...

    def get(self, name: str, kind: FeatureKind) -> FeatureValue:
        """The feature's value: a bool, int, float or str as its kind says."""
        ...

    def set(self, name: str, kind: FeatureKind, value: FeatureValue) -> None:
        """Writes the feature."""
        ...

    def holding(self) -> AbstractContextManager[Any]:
        """For several calls that belong together, such as a selector and what it selects."""
        ...
