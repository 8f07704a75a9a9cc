"""Write deploy/grafana/dashboards/*.json from tools/boards: `python -m tools.dashboards`."""

from pathlib import Path

from tools.boards.device import DEVICE
from tools.boards.grafana import files
from tools.boards.line import LINE

FOLDER = Path(__file__).parent.parent / "deploy" / "grafana" / "dashboards"
BOARDS = (LINE, DEVICE)


def main() -> None:
    """Write both."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files(BOARDS).items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)


if __name__ == "__main__":
    main()
