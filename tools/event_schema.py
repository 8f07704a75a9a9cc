"""Writes `docs/schema/goldline-event-v1.json` from the event's definition; a test checks that it is current."""

import json
from pathlib import Path

from edge import events

TARGET = Path(__file__).parent.parent / "docs" / "schema" / "goldline-event-v1.json"

if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(events.schema(), indent=2) + "\n", encoding="utf-8")
    print(TARGET)
