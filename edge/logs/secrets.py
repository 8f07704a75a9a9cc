"""What no line may tell, whoever wrote it: users and passwords in URLs. The net below the rule not to log them at all."""

import re
from typing import cast

from structlog.typing import EventDict, WrappedLogger

from edge.urls import may_be_shown

# Up to whatever cannot stand in a URL; the quotes are those of a message around it, but within user and password.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s/?#]*@)?[^\s'\"<>]+")


def clean(value: object) -> object:
    """The value without secrets: text, text within lists and tables, and what else is written as its text."""
    if isinstance(value, dict):
        return {key: clean(one) for key, one in cast("dict[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in cast("list[object]", value)]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else str(value)
    return _URL.sub(lambda found: may_be_shown(found[0]), text) if "://" in text else text


def hide(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor."""
    return {key: clean(value) for key, value in event.items()}
