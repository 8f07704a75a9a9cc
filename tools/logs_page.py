"""Write the codes of docs/logs.md from `edge/logs/messages/`: `python tools/logs_page.py`."""

import re
from pathlib import Path

from edge.logs import catalogue
from edge.logs.catalogue import Entry

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "logs.md"
MARK = re.compile(r"(<!-- codes -->\n).*(<!-- end -->)", re.DOTALL)
PARTS = {
    "CAM": "Cameras",
    "WRK": "The station's processes",
    "CFG": "The configuration in flight",
    "TRG": "Triggers and their answers",
    "ERR": "Why a part has no verdict",
    "OUT": "The record of events",
    "ARC": "Kept pictures",
    "INS": "Inspection and products",
    "NET": "Who connects to the station's sockets",
    "PLC": "Lanes: Modbus, and all of them",
    "OPC": "Lane: OPC UA",
    "MQT": "Lane: MQTT",
    "FLT": "The fleet",
    "LOG": "The log itself",
    "RUN": "What a command says when it cannot run",
}


def page(text: str) -> str:
    """The page with its codes as the tables have them."""
    if not MARK.search(text):
        raise SystemExit(f"{PAGE}: no place for the codes")
    return MARK.sub(lambda found: f"{found[1]}{codes()}{found[2]}", text)


def codes() -> str:
    """Every code, by the part of the station that it is about."""
    known = catalogue.entries().values()
    if unknown := {entry.part for entry in known} - set(PARTS):
        raise SystemExit(f"{', '.join(sorted(unknown))}: name this part in tools/logs_page.py")
    sections = []
    for part, title in PARTS.items():
        entries = [entry for entry in known if entry.part == part]
        sections.append(f"\n## {title}\n\n" + "\n".join(map(_entry, entries)))
    return "".join(sections) + "\n"


def _entry(entry: Entry) -> str:
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(entry.do, 1))
    level = f" ({entry.level})" if entry.level else ""
    return f"### {entry.code}\n\n**{_titles(entry)}**{level}. {entry.why}\n\n*Verdicts*: {entry.verdicts}\n\n{steps}\n\n{_see(entry)}\n"


def _titles(entry: Entry) -> str:
    if entry.fragments:
        return " · ".join(f"… {words.strip()} …" for words in entry.fragments)
    return entry.title


def _see(entry: Entry) -> str:
    metrics = [f"`{metric}`" for metric in entry.metrics]
    alerts = [f"[{alert}](runbooks/{alert}.md)" for alert in entry.alerts]
    target = Path(entry.page)
    return f"See {', '.join([*alerts, *metrics, f'[{target.name}]({target.name})'])}."


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
