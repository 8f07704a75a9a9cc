"""Can this machine run the `gpu` extra? Answers by exit code, 0 yes and 1 no, and says why on stderr.

python tools/choose_extra.py device      is there an NVIDIA device at all? Needs nothing installed.
python tools/choose_extra.py session     does a graph run on CUDA? Needs the gpu extra installed.
"""

import sys
from pathlib import Path

# A discrete GPU's node, and those of a Jetson's.
DEVICES = ("nvidia[0-9]*", "nvhost-gpu", "nvgpu/igpu0", "dxg")
PROVIDER = "CUDAExecutionProvider"


def find_device(root: Path = Path("/dev")) -> str | None:
    """The first NVIDIA device node."""
    return next((str(found) for pattern in DEVICES for found in sorted(root.glob(pattern))), None)


def run_session() -> str | None:
    """Run a graph of one node on CUDA, and nowhere else; why it does not run, or None."""
    import numpy as np
    import onnxruntime as ort
    from onnx import TensorProto, helper

    if PROVIDER not in ort.get_available_providers():
        return "this onnxruntime was built without CUDA"
    ort.preload_dlls()
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"}
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "probe", [value["x"]], [value["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    try:
        session = ort.InferenceSession(model.SerializeToString(), providers=[PROVIDER])
        (answer,) = session.run(None, {"x": np.ones(4, np.float32)})
    except (RuntimeError, ValueError) as problem:  # what onnxruntime raises is one or the other
        return str(problem).splitlines()[0]
    if session.get_providers()[0] != PROVIDER:
        return f"onnxruntime fell back to {session.get_providers()[0]}"
    return None if answer.tolist() == [2.0] * 4 else "a sum came out wrong"


def main() -> int:
    """Answer the question named on the command line."""
    if sys.argv[1:] == ["device"]:
        return 0 if find_device() else 1
    if sys.argv[1:] != ["session"]:
        print(__doc__, file=sys.stderr)
        return 2
    problem = run_session()
    if problem:
        print(f"no CUDA session: {problem}", file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
