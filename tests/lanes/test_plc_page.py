"""The page for automation engineers says what the code does."""

from tools import plc_map


def test_the_tables_are_those_of_the_code() -> None:
    text = plc_map.PAGE.read_text()
    assert plc_map.page(text) == text, "run: python tools/plc_map.py"
    assert all(f"<!-- {name} -->" in text for name in plc_map.tables())
