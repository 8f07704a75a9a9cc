"""Write the table of docs/reload.md from edge/change.py: `python tools/reload_page.py`."""

from pathlib import Path

from edge.change import RULES, Effect, Rule

PAGE = Path(__file__).parent.parent / "docs" / "reload.md"
BEGIN, END = "<!-- written by tools/reload_page.py -->\n", "<!-- to here -->\n"
DOES = {Effect.LIVE: "live", Effect.WORKER: "restarts", Effect.STATION: "restart of the station"}


def table() -> str:
    """The rows, as markdown."""
    rows = "\n".join(map(_row, RULES))
    return f"| key | what a change does | how |\n|---|---|---|\n{rows}\n"


def _row(rule: Rule) -> str:
    keys = ", ".join(f"`{key}`" for key in rule.keys)
    workers = ", ".join(f"`{worker}…`" if worker.endswith("@") else worker for worker in rule.workers)
    does = DOES[rule.effect] + (f" {workers}" if rule.effect is Effect.WORKER else "")
    return f"| {keys} | {does} | {rule.why} |"


def written(page: str) -> str:
    """The page with the table of now."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
