"""Whether a USB3 Vision camera is in use, read from a folder as the kernel makes it."""

from pathlib import Path

from edge.cameras.usb_claim import is_claimed


def device(folder: Path, name: str, serial: str, kind: tuple[str, str], driver: str | None) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "serial").write_text(f"{serial}\n")
    for interface in (folder / f"{name}:1.0", folder / f"{name}:1.1"):
        interface.mkdir()
        for key, value in zip(("bInterfaceClass", "bInterfaceSubClass"), kind, strict=True):
            (interface / key).write_text(f"{value}\n")
        if driver is not None:
            (folder / driver).mkdir(exist_ok=True)
            (interface / "driver").symlink_to(folder / driver)


def test_a_camera_that_a_program_holds_is_claimed(tmp_path: Path) -> None:
    device(tmp_path, "1-2", "A", ("ef", "05"), "usbfs")
    device(tmp_path, "1-3", "B", ("ef", "05"), None)
    device(tmp_path, "1-2.1", "C", ("0e", "01"), "usbfs")  # no USB3 Vision
    device(tmp_path, "1-4", "D", ("ef", "05"), "another")
    assert [is_claimed(serial, tmp_path) for serial in "ABCD"] == [True, False, False, False]


def test_where_the_kernel_tells_nothing_nothing_is_claimed(tmp_path: Path) -> None:
    assert not is_claimed("A", tmp_path / "none")
