"""What no line may tell, whoever wrote it: users and passwords in URLs. The net below the rule not to log them at all."""

import re
from typing import cast

from structlog.typing import EventDict, WrappedLogger

from edge.urls import may_be_shown

# Up to whatever cannot stand in a URL; the quotes are those of a message around it.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")


def clean(value: object) -> object:
    """The value without secrets: text, and text within lists and tables."""
    if isinstance(value, str):
        return _URL.sub(lambda found: may_be_shown(found[0]), value) if "://" in value else value
    if isinstance(value, dict):
        return {key: clean(one) for key, one in cast("dict[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in cast("list[object]", value)]
    return value


def hide(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor."""
    return {key: clean(value) for key, value in event.items()}
