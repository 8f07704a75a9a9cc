"""What judges: whether the provider that is configured really runs here."""

import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from onnx import TensorProto, helper

from edge.config import InferenceConfig
from edge.doctor.finding import Finding, Machine, Status, weighed
from edge.errors import GoldlineError
from edge.inference import OPTIONS, Loader

_WHEELS = ("onnxruntime", "onnxruntime-gpu")
# A driver that hangs must not hang this.
_ASK_S = 10.0


def wheels() -> Iterator[Finding]:
    """Both of ONNX Runtime's wheels fill one folder: removing one of two breaks the other."""
    there = {name: found for name in _WHEELS if (found := _version(name))}
    yield weighed(
        check="wheels",
        is_well=len(there) == 1,
        otherwise=Status.BAD,
        seen=", ".join(f"{name} {found}" for name, found in there.items()) or "no ONNX Runtime is installed",
        wanted="one of onnxruntime and onnxruntime-gpu",
        mend=f"pip uninstall -y {' '.join(_WHEELS)} && pip install 'goldline[cpu]' (or [gpu])",
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def provider(config: InferenceConfig) -> Iterator[Finding]:
    """A session of one node on the configured provider, as inspection begins one: what the module says does not count."""
    if _version("onnxruntime") is None and _version("onnxruntime-gpu") is None:
        return
    wanted = f'inference.provider = "{config.provider}"'
    loader = Loader(_smallest_graph(), threads=1)
    try:
        session = loader.start(config.provider, OPTIONS.get(config.provider, {}))
    except GoldlineError as problem:
        yield Finding(check="provider", status=Status.BAD, seen=str(problem), wanted=wanted)
        return
    runs = session is not None
    yield Finding(
        check="provider",
        status=Status.OK if runs else Status.WARN if config.allow_fallback else Status.BAD,
        seen=f"{config.provider} runs" if runs else loader.refusal(config.provider),
        wanted=wanted,
        mend="" if runs else 'nvidia-smi; pip install "goldline[gpu]"; or inference.provider = "cpu"',
    )


def _smallest_graph() -> bytes:
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"}
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "probe", [value["x"]], [value["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def gpu(config: InferenceConfig, machine: Machine) -> Iterator[Finding]:
    """What NVIDIA's driver says, where there is one."""
    nodes = [path.name for pattern in ("nvidia[0-9]*", "nvhost-gpu") for path in machine.matching(f"/dev/{pattern}")]
    program = shutil.which("nvidia-smi")
    if config.provider == "cpu" and not nodes:
        return
    if program is None:
        status = Status.SKIPPED if config.provider == "cpu" or "nvhost-gpu" in nodes else Status.BAD
        seen = f"no nvidia-smi; devices: {', '.join(nodes) or 'none'}"
        yield Finding(check="gpu", status=status, seen=seen, wanted="NVIDIA's driver", mend=_driver(status))
        return
    command = [program, "--query-gpu=name,driver_version,pstate,temperature.gpu", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASK_S)
    works = told.returncode == 0
    status = Status.OK if works else Status.WARN if config.provider == "cpu" else Status.BAD
    yield Finding(
        check="gpu",
        status=status,
        seen="; ".join((told.stdout if works else told.stdout + told.stderr).split("\n")).strip("; "),
        wanted="NVIDIA's driver answers",
        mend=_driver(status),
    )


def _driver(status: Status) -> str:
    return (
        ""
        if status in (Status.OK, Status.SKIPPED)
        else "install the driver of the distribution (nvidia-driver) and restart"
    )
