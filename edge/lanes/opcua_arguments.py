"""What clients put into methods and get out of them: arguments checked, answers in asyncua's words."""

from dataclasses import dataclass
from typing import Any

import msgspec
from asyncua import ua

from edge.events import Event
from edge.lanes import opcua_types
from edge.lanes.opcua_result import Identity, digest, job_of, state_of
from edge.lanes.opcua_types import words


class Refusal(Exception):
    """A method is not carried out: a status code of OPC UA, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which results GetResultListFiltered is asked for. None, an empty tuple and state 0 match all."""

    state: int
    part: str | None
    products: tuple[str, ...]
    configuration: str | None
    job: str | None

    def matches(self, event: Event) -> bool:
        """Whether this result has all of what is wanted."""
        data = event.data
        pairs = (
            (self.part, data.unit_identifier),
            (self.configuration, str(data.configuration)),
            (self.job, job_of(data)),
            *((name, data.product) for name in self.products),
        )
        return self.state in (0, state_of(data)) and all(name is None or name == value for name, value in pairs)


def checked(kind: Any, **values: Any) -> Any:
    """An order with its bounds kept. Raises Refusal."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as problem:
        raise Refusal(words.StatusCodes.BadInvalidArgument, str(problem)) from problem


def number(given: ua.Variant, least: int = 0) -> int:
    """A count or a time; 0 where there is none. Raises Refusal: it is no number, or below `least`."""
    value = given.Value
    if value is None:
        return 0
    if not isinstance(value, int | float) or not least <= value < 2**32:
        raise Refusal(words.StatusCodes.BadInvalidArgument, f"{value!r}: expected a number from {least} on")
    return int(value)


def texts(parameters: ua.Variant) -> tuple[str, ...]:
    """The parameters of a job, as text."""
    return tuple(str(getattr(one, "Value", one)) for one in parameters.Value or ())


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """`name=value` texts as a table. Raises Refusal."""
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise Refusal(words.StatusCodes.BadInvalidArgument, f"{name!r}: expected name=value")
    return {name.strip(): value.strip() for name, _, value in pairs}


def structure(value: Any) -> ua.Variant:
    """A structure of the companion specification."""
    return ua.Variant(value, ua.VariantType.ExtensionObject)


def job_id(name: str) -> ua.Variant:
    """A JobIdDataType."""
    return structure(words.JobIdDataType(Id=name))


def recipe_id(job: dict[str, Any]) -> ua.Variant:
    """A RecipeIdInternalDataType of a job as the station tells it."""
    recipe = Identity(id=job["product"], sha256=digest(job.get("recipe_sha256")))
    return structure(opcua_types.identity("RecipeIdInternalDataType", recipe))


def count(number: int) -> ua.Variant:
    """A number of things."""
    return ua.Variant(number, ua.VariantType.UInt32)


def handle() -> ua.Variant:
    """No handle: nothing has to be released."""
    return ua.Variant(0, ua.VariantType.UInt32)
