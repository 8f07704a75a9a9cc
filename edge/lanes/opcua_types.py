"""Results in asyncua's words: the structures of the companion specification, which asyncua makes when it loads it.

They are attributes of `asyncua.ua` only from then on, so nothing here may be called before (`Space.build` loads them).
"""

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

from asyncua import ua

from edge.lanes.opcua_result import Described, Identity

# asyncua's words, typed by nobody: the structures come out of an XML file, and its own constructors take more than
# they declare.
words: Any = ua
# OPC 40100-1, section 12: the fields of ResultDataType that the event ResultReady and GetResultComponentsById have too.
RESULT_FIELDS = (
    "IsPartial",
    "IsSimulated",
    "ResultState",
    "MeasId",
    "PartId",
    "ExternalRecipeId",
    "InternalRecipeId",
    "ProductId",
    "ExternalConfigurationId",
    "InternalConfigurationId",
    "JobId",
    "CreationTime",
    "ProcessingTimes",
    "ResultContent",
)
# Places in ResultContent.
GOOD, ON_TIME = 3, 5
# Structures that add nothing to the one they are derived from. asyncua takes them for that one, and would neither know
# nor name them on the wire: number of the type, and of its binary encoding.
SAME_AS_BASE = {
    "ConfigurationIdDataType": (3008, 5090),
    "RecipeIdExternalDataType": (3002, 5002),
    "RecipeIdInternalDataType": (3013, 5268),
}


def tell_apart(namespace: int) -> None:
    """Give each structure that is like another a class of its own. Call once, when the specification is loaded."""
    for name, (number, encoding) in SAME_AS_BASE.items():
        data_type = words.NodeId(number, namespace)
        delattr(words, name)
        made = type(name, (words.BinaryIdBaseDataType,), {"data_type": data_type})
        words.register_extension_object(name, words.NodeId(encoding, namespace), made, data_type)


def result(described: Described) -> Any:
    """A ResultDataType."""
    made = words.ResultDataType()
    made.ResultId = words.ResultIdDataType(Id=str(described.trigger_id))
    made.HasTransferableDataOnFile = False
    made.IsPartial = False
    made.IsSimulated = described.is_simulated
    made.ResultState = ua.Int32(described.state)
    made.PartId = None if described.part is None else words.PartIdDataType(Id=described.part)
    made.ExternalRecipeId = identity("RecipeIdExternalDataType", described.recipe)
    made.InternalRecipeId = identity("RecipeIdInternalDataType", described.recipe)
    made.InternalConfigurationId = identity("ConfigurationIdDataType", described.configuration)
    made.JobId = words.JobIdDataType(Id=described.job)
    made.CreationTime = described.created
    made.ProcessingTimes = times(described)
    made.ResultContent = content(described)
    return made


def identity(structure: str, given: Identity) -> Any:
    """One of the specification's ids that have a version and a hash."""
    made = getattr(words, structure)(Id=given.id)
    if given.version:
        made.Version = given.version
    if given.sha256:
        made.Hash, made.HashAlgorithm = given.sha256, "SHA-256"
    return made


def times(described: Described) -> Any:
    """A ProcessingTimesDataType; durations are ms."""
    made = words.ProcessingTimesDataType()
    made.StartTime, made.EndTime = described.started, described.created
    made.AcquisitionDuration = described.acquisition_ms
    made.ProcessingDuration = described.processing_ms
    return made


class Content(list[ua.Variant]):
    """ResultContent: what a PLC can use without reading JSON, at fixed places, and the JSON. In time until `due`."""

    def __init__(self, places: Iterable[ua.Variant], due: datetime) -> None:
        super().__init__(places)
        self.due = due

    def lapse(self, now: datetime) -> None:
        """It is told at this time, and was put into words at another."""
        if now > self.due:
            self[GOOD] = self[ON_TIME] = ua.Variant(False, ua.VariantType.Boolean)


def content(described: Described) -> Content:
    """What stands at each place."""
    places = (
        ua.Variant(described.verdict, ua.VariantType.String),
        ua.Variant(int(described.evaluation), ua.VariantType.Int32),
        ua.Variant(described.reason, ua.VariantType.String),
        ua.Variant(described.is_good, ua.VariantType.Boolean),
        ua.Variant(described.is_review, ua.VariantType.Boolean),
        ua.Variant(described.is_on_time, ua.VariantType.Boolean),
        ua.Variant(described.score, ua.VariantType.Double),
        ua.Variant(described.channel, ua.VariantType.String),
        ua.Variant(described.json, ua.VariantType.String),
    )
    return Content(places, described.due)


def variant_of(value: Any) -> ua.Variant:
    """A field of a result as a variant of the type that its node has."""
    if isinstance(value, bool):
        return ua.Variant(value, ua.VariantType.Boolean)
    if isinstance(value, int):
        return ua.Variant(int(value), ua.VariantType.Int32)
    if isinstance(value, datetime):
        return ua.Variant(value, ua.VariantType.DateTime)
    if isinstance(value, list):
        return ua.Variant(value, ua.VariantType.Variant, is_array=True)
    if value is None:
        return ua.Variant(None, ua.VariantType.Null)
    return ua.Variant(value, ua.VariantType.ExtensionObject)


def id_of(argument: ua.Variant) -> str | None:
    """The Id of a structure that a client has sent; None where it is missing or empty."""
    value = argument.Value
    text = getattr(value, "Id", None)
    return text if isinstance(text, str) and text else None


def system_state(state: int, text: str) -> Any:
    """A SystemStateDescriptionDataType."""
    made = words.SystemStateDescriptionDataType()
    made.State, made.StateDescription = words.SystemStateDataType(state), text
    return made


def field_names(structure: Any) -> tuple[str, ...]:
    """The fields of one of the specification's structures, in order."""
    return tuple(field.name for field in fields(structure))
