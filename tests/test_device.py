"""What the machine says of itself: fake trees of /proc and /sys, a fake driver, and a disk that hangs."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from edge.config import Station
from edge.device import disks, jetson, temperatures, watch
from edge.device.processor import Processor
from edge.device.sample import Sample
from edge.metric_table import CPU_MODES, ROWS
from tests.needs import needs_module, needs_program

STAT = "cpu  100 50 30 1000 7 3 2 5 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n"
MEMINFO = "MemTotal:        2048 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def values(samples: Iterator[Sample]) -> dict[str, float]:
    return {" ".join((name.removeprefix("goldline_"), *labels)): value for name, value, labels in samples}


def test_processors_and_memory(tmp_path):
    write(tmp_path, {"stat": STAT, "meminfo": MEMINFO})
    tick_s = 1 / 100
    assert values(Processor(tmp_path).read()) == pytest.approx({
        "device_cpu_seconds_total user": 150 * tick_s,
        "device_cpu_seconds_total system": 35 * tick_s,
        "device_cpu_seconds_total iowait": 7 * tick_s,
        "device_cpu_seconds_total steal": 5 * tick_s,
        "device_cpu_seconds_total idle": 1000 * tick_s,
        "device_memory_total_bytes": 2 << 20,
        "device_memory_available_bytes": 1 << 20,
    })  # fmt: skip


def test_a_kernel_that_takes_time_back_does_not_take_a_counter_back(tmp_path):
    processor = Processor(write(tmp_path, {"stat": STAT}))
    before = values(processor.read())
    write(tmp_path, {"stat": STAT.replace(" 7 3 ", " 6 3 ").replace("cpu  100", "cpu  200")})
    after = values(processor.read())
    assert after["device_cpu_seconds_total iowait"] == before["device_cpu_seconds_total iowait"]
    assert after["device_cpu_seconds_total user"] > before["device_cpu_seconds_total user"]


def test_this_machine_has_processors_and_memory():
    found = values(Processor().read())
    assert {f"device_cpu_seconds_total {mode}" for mode in CPU_MODES} < found.keys()
    assert 0 < found["device_memory_available_bytes"] < found["device_memory_total_bytes"]


def test_a_disk_and_one_that_is_not_there(tmp_path):
    found = values(disks.read("state", tmp_path))
    assert 0 <= found["device_disk_free_bytes state"] < found["device_disk_size_bytes state"]
    assert values(disks.read("archive", tmp_path / "none")) == {}


BOARD = {
    "class/thermal/thermal_zone0/type": "CPU-therm",
    "class/thermal/thermal_zone0/temp": "41500",
    "class/thermal/thermal_zone0/trip_point_0_type": "passive",
    "class/thermal/thermal_zone0/trip_point_0_temp": "70000",
    "class/thermal/thermal_zone0/trip_point_1_type": "critical",
    "class/thermal/thermal_zone0/trip_point_1_temp": "104500",
    "class/thermal/thermal_zone0/trip_point_2_type": "hot",
    "class/thermal/thermal_zone0/trip_point_2_temp": "99000",
    "class/thermal/thermal_zone1/type": "CV0-therm",
    "class/thermal/thermal_zone1/temp": "-256000",
    "class/thermal/thermal_zone10/type": "CPU-therm",
    "class/thermal/thermal_zone10/temp": "43000",
    # The kernel's own copy of the first zone, a drive with a limit that is nonsense, and a processor.
    "class/hwmon/hwmon0/name": "CPU_therm",
    "class/hwmon/hwmon0/temp1_input": "41500",
    "class/hwmon/hwmon1/name": "nvme",
    "class/hwmon/hwmon1/temp1_input": "38850",
    "class/hwmon/hwmon1/temp1_label": "Composite",
    "class/hwmon/hwmon1/temp1_crit": "84850",
    "class/hwmon/hwmon1/temp2_input": "40000",
    "class/hwmon/hwmon1/temp2_label": "Sensor 1",
    "class/hwmon/hwmon1/temp2_crit": "65261850",
    "class/hwmon/hwmon2/name": "coretemp",
    "class/hwmon/hwmon2/temp1_input": "55000",
    "class/hwmon/hwmon2/temp1_label": "Package id 0",
    "class/hwmon/hwmon2/temp2_input": "54000",
    "class/hwmon/hwmon2/temp2_label": "Core 0",
    "class/hwmon/hwmon3/name": "broken",
    "class/hwmon/hwmon3/temp1_input": "not a number",
}


def test_temperatures_and_their_limits(tmp_path):
    assert values(temperatures.read(write(tmp_path, BOARD))) == {
        "device_temperature_celsius CPU-therm": 41.5,
        "device_temperature_limit_celsius CPU-therm": 99.0,
        "device_temperature_celsius CPU-therm 2": 43.0,
        "device_temperature_celsius nvme Composite": 38.85,
        "device_temperature_limit_celsius nvme Composite": 84.85,
        "device_temperature_celsius nvme Sensor 1": 40.0,
        "device_temperature_celsius coretemp Package id 0": 55.0,
    }


def test_a_board_with_dozens_of_sensors_does_not_fill_the_page(tmp_path):
    many = {f"class/thermal/thermal_zone{n}/{key}": "50000" for n in range(60) for key in ("temp", "type")}
    assert len(list(temperatures.read(write(tmp_path, many)))) == temperatures.MOST_SENSORS


ORIN = {
    "devices/platform/bus@0/17000000.gpu/load": "431",
    "class/thermal/thermal_zone0/type": "cpu-thermal",
    "class/thermal/thermal_zone0/temp": "48000",
    "class/thermal/thermal_zone1/type": "gpu-thermal",
    "class/thermal/thermal_zone1/temp": "46500",
    "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_label": "VDD_IN",
    "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_input": "5000",
    "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input": "2000",
    "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
    "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in2_input": "5000",
    "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr2_input": "800",
}
NANO = {
    "devices/gpu.0/load": "1000",
    "class/thermal/thermal_zone2/type": "GPU-therm",
    "class/thermal/thermal_zone2/temp": "31000",
    "bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN",
    "bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "4100",
    "bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU",
    "bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": "650",
}


@pytest.mark.parametrize(("board", "expected"), [(ORIN, (0.431, 46.5, 4.0)), (NANO, (1.0, 31.0, 0.65))])
def test_the_accelerator_of_a_jetson(tmp_path, board, expected):
    write(tmp_path, board)
    assert jetson.is_one(tmp_path)
    names = ("gpu_utilization_ratio 0", "gpu_temperature_celsius 0", "gpu_power_watts 0")
    assert values(jetson.read(tmp_path)) == pytest.approx(dict(zip(names, expected, strict=True)))


def test_no_jetson(tmp_path):
    assert not jetson.is_one(write(tmp_path, BOARD))
    assert values(jetson.read(tmp_path)) == {}


# The library that NVIDIA's own Python binding loads, for a machine without a card: one card that knows no power.
DRIVER = r"""
unsigned sleep(unsigned);
char *getenv(const char *);
typedef struct { unsigned gpu, memory; } rates;
typedef struct { unsigned long long total, free, used; } room;
int nvmlInitWithFlags(unsigned f) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { if (getenv("HANGS")) sleep(600); *n = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned n, void **card) { *card = (void *)1; return 0; }
int nvmlDeviceGetUtilizationRates(void *card, rates *r) { r->gpu = 62; r->memory = 10; return 0; }
int nvmlDeviceGetMemoryInfo(void *card, room *r) { r->total = 8000; r->free = 5000; r->used = 3000; return 0; }
int nvmlDeviceGetTemperature(void *card, int which, unsigned *c) { *c = 71; return 0; }
int nvmlDeviceGetPowerUsage(void *card, unsigned *mw) { return 3; }
const char *nvmlErrorString(int code) { return "not supported"; }
"""
READ_CARDS = "from edge.device.nvidia import Cards; c = Cards(); print(list(c.read())); print(list(c.read()))"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libnvidia-ml.so.1."""
    folder = tmp_path_factory.mktemp("driver")
    source = folder / "driver.c"
    source.write_text(DRIVER)
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([needs_program("tcc", "tcc"), "-shared", "-nostdlib", source, "-o", library], check=True)
    return folder


def python(code: str, **environ: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    return done.stdout


def test_a_card_by_the_drivers_library(driver):
    needs_module("pynvml", extra="gpu")
    first, second = python(READ_CARDS, LD_LIBRARY_PATH=str(driver)).splitlines()
    assert first == second
    for said in ("utilization_ratio', value=0.62", "used_bytes', value=3000.0", "total_bytes', value=8000.0", "71.0"):
        assert said in first
    assert "watts" not in first


def test_no_card_is_no_error():
    needs_module("pynvml", extra="gpu")
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has a card")
    assert python(READ_CARDS) == "[]\n[]\n"


HANGING = """
import time
from edge.device.nvidia import Cards
from edge.device.watch import Device
from edge.device.processor import Processor
with Device({"gpu": Cards().read, "processor": Processor().read}, period_s=0.05) as device:
    time.sleep(0.5)
    before = time.monotonic()
    families = {family.name: family for family in device.collect()}
    assert time.monotonic() - before < 0.3
    ages = {s.labels["source"]: s.value for s in families["goldline_device_reading_age_seconds"].samples}
    assert ages["gpu"] > 0.4 > ages["processor"], ages
    assert "goldline_gpu_utilization_ratio" not in families and "goldline_device_cpu_seconds" in families
print("ended")
"""


def test_a_driver_that_hangs_holds_up_neither_a_scrape_nor_the_end(driver):
    needs_module("pynvml", extra="gpu")
    begun_s = time.monotonic()
    assert python(HANGING, LD_LIBRARY_PATH=str(driver), HANGS="yes") == "ended\n"
    assert time.monotonic() - begun_s < 60


def test_a_disk_that_hangs_is_shown_by_its_age_and_the_others_go_on(tmp_path, monkeypatch):
    hangs, answers = threading.Event(), threading.Event()

    def slow() -> Iterator[Sample]:
        yield from disks.read("state", tmp_path)
        if hangs.is_set():
            answers.wait()

    monkeypatch.setattr(watch, "OLD_AFTER_S", 0.3)
    registry = CollectorRegistry()
    with watch.Device({"disk_state": slow, "processor": Processor().read}, period_s=0.02) as device:
        registry.register(device)
        until(lambda: b'disk_free_bytes{directory="state"}' in generate_latest(registry))
        hangs.set()
        until(lambda: b"disk_free_bytes" not in generate_latest(registry))
        assert b"goldline_device_cpu_seconds_total{" in generate_latest(registry)
        hangs.clear()
        answers.set()
        until(lambda: b'disk_free_bytes{directory="state"}' in generate_latest(registry))


def test_a_device_that_goes_while_it_is_read_is_read_again():
    reads = iter([OSError("gone"), OSError("gone")])

    def read() -> Iterator[Sample]:
        for problem in reads:
            raise problem
        yield Sample("goldline_device_memory_total_bytes", 1.0)

    registry = CollectorRegistry()
    with watch.Device({"temperature": read}, period_s=0.02) as device:
        registry.register(device)
        until(lambda: b"goldline_device_memory_total_bytes 1.0" in generate_latest(registry))


def until(is_so, timeout_s: float = 30.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_what_is_read_is_in_the_table(tmp_path):
    station = Station.model_validate({"state_dir": tmp_path, "cameras": {"left": {"source": "simulated"}}})
    found = watch.sources(station)
    assert {"disk_state", "disk_archive", "processor", "temperature"} <= found.keys()
    boards = (temperatures.read(write(tmp_path / "b", BOARD)), jetson.read(write(tmp_path / "o", ORIN)))
    samples = [*(one for read in found.values() for one in read()), *boards[0], *boards[1]]
    assert samples
    for sample in samples:
        assert len(sample.labels) == len(ROWS[sample.name].labels)
