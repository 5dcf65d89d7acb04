"""What does one step of an LSTM layer cost, in C and from Python, beside ONNX Runtime?

    python benchmarks/streaming.py

One layer, batch 1, one thread. Each figure is the lowest of several repetitions, in microseconds of
processor time, because other processes disturb a clock more. "C" is benchmarks/step.cpp, compiled
by c++; "Python" is `gatewise.engine.cells.Stepping.step`; ONNX Runtime, if it is installed, runs an
LSTM of one step with the same weights, called with its states. Writes
benchmarks/results/streaming.json.
"""

import json
import subprocess
import tempfile
import time
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gatewise.engine import library
from gatewise.engine.cells import WEIGHTS, Cells, Layer, Stepping

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "streaming.json"
SIZES = ((1, 32), (1, 64), (64, 64), (64, 256), (64, 512))  # features, units
REPEATS, SECONDS = 7, 0.1  # processor time of each repetition


def compiled(folder: Path) -> Path:
    """The C program, linked with the installed library."""
    place = Path(str(resources.files("gatewise.engine") / library.NAME))
    program = folder / "step"
    subprocess.run(
        ["c++", "-std=c++17", "-O2", "-w", f"-I{HERE.parent / 'native'}", HERE / "step.cpp", place]
        + [f"-Wl,-rpath,{place.parent}", "-o", program],
        check=True,
    )
    return program


def microseconds(act) -> float:
    """The processor time of one call."""
    act()
    best, count = float("inf"), 1
    for _ in range(REPEATS):
        begin = time.process_time()
        for _ in range(count):
            act()
        spent = time.process_time() - begin
        if count > 1:
            best = min(best, spent / count)
        count = max(2, int(count * SECONDS / max(spent, 1e-4)))
    return best * 1e6


def onnx_session(layer: Layer):
    """A session of ONNX Runtime with one step of the layer; gates in the order i, o, f, c."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    def rows(weights):
        i, f, c, o = np.split(weights, 4, axis=-1)
        return np.concatenate([i, o, f, c], axis=-1).T[None].astype(np.float32)

    features, units = len(layer.kernel), len(layer.recurrent_kernel)
    bias = np.concatenate([rows(layer.bias[None])[..., 0], np.zeros((1, 4 * units))], axis=1)
    arrays = {"W": rows(layer.kernel), "R": rows(layer.recurrent_kernel)}
    arrays["B"] = bias.astype(np.float32)
    shapes = {"x": [1, 1, features], "h": [1, 1, units], "c": [1, 1, units]}
    graph = helper.make_graph(
        [
            helper.make_node(
                "LSTM", ["x", "W", "R", "B", "", "h", "c"], ["", "hn", "cn"], hidden_size=units
            )
        ],
        "step",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, units]) for n in ("hn", "cn")],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session, onnx.__version__


def measure(program: Path, features: int, units: int) -> dict[str, float]:
    random = np.random.default_rng(0)
    layer = Layer(
        *(random.normal(size=(n, 4 * units)) / np.sqrt(n) for n in (features, units)),
        random.normal(size=4 * units),
    )
    x = random.normal(size=(1, features)).astype(np.float32)
    found: dict[str, float] = {}
    for kind, weights in enumerate(WEIGHTS):
        command = [str(program), str(features), str(units), str(kind)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[f"C {weights}"] = float(printed) / 1000
        stepping = Stepping(Cells([layer], weights))
        found[f"Python {weights}"] = microseconds(lambda s=stepping: s.step(x))
    if find_spec("onnxruntime") and find_spec("onnx"):
        session, _ = onnx_session(layer)
        state = np.zeros((1, 1, units), np.float32)
        states = [state, state]

        def step() -> None:
            states[:] = session.run(None, {"x": x[None], "h": states[0], "c": states[1]})

        stepping = Stepping(Cells([layer]))
        step()
        assert np.abs(stepping.step(x) - states[0][0]).max() < 1e-5, "other numbers"
        found["ONNX Runtime"] = microseconds(step)
    return found


def main() -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(Path(folder))
        for features, units in SIZES:
            found = {name: round(one, 3) for name, one in measure(program, features, units).items()}
            results.append({"features": features, "units": units, "microseconds": found})
            told = ", ".join(f"{name} {one:.2f}" for name, one in found.items())
            print(f"{features} features, {units} units: {told} us")
    content = {"isa": library.isa(), "unit": "us of processor time", "steps": results}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
