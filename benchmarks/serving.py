"""Requests a second of `gatewise serve`, and of the same model behind Keras's predict in FastAPI.

    python benchmarks/serving.py RUN SEQUENCES.json [--clients 200] [--seconds 10] [--rounds 2]

SEQUENCES.json holds numbers as [sequences][steps][columns]; each request sends it to both servers,
which take turns. The load comes from wrk (`apt install wrk`), which needs little processor time.
`cpu_ms` is the processor time that a server takes for a request; on a busy machine it is steadier
than the time that passes. The run must read numbers, and `predict` in FastAPI gets them unscaled,
so the baseline does less work than the server of gatewise. It predicts in the thread of the event
loop, because Keras on JAX fails in several threads at once.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BASELINE = """
import sys, keras, numpy as np, uvicorn
from fastapi import FastAPI, Body
model = keras.saving.load_model(sys.argv[1] + "/model.keras", compile=False)
app = FastAPI()
@app.post("/predict")
async def predict(rows: list[list[list[float]]] = Body()):
    return model.predict(np.array(rows, "float32"), verbose=0).tolist()
uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# What wrk runs: the request, and its results as JSON.
SCRIPT = """
local file = io.open(os.getenv("BODY"), "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, failed))
end
"""


def load(port: int, body: Path, clients: int, seconds: float) -> dict[str, float]:
    """The requests a second and the latencies of this many clients in closed loops."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        options = ["-t", "1", "-c", str(clients), "-d", f"{seconds:.0f}s", "--timeout", "60s"]
        place = f"http://127.0.0.1:{port}/predict"
        told = subprocess.run(
            ["wrk", *options, "-s", script.name, place],
            env=os.environ | {"BODY": str(body)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    result: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    result["per_second"] = result["requests"] / result.pop("seconds")
    return result


def resident(process: subprocess.Popen[bytes]) -> float:
    """The resident memory of a process in MB."""
    pages = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor_time(process: subprocess.Popen[bytes]) -> float:
    """The seconds of processor time that a process has used, user and system."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(") ")[2]
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def wait_for(port: int) -> None:
    """Wait until a server listens."""
    for _ in range(3000):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("The server did not start.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("sequences", type=Path)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    ports = {"gatewise": free_port(), "keras": free_port()}
    serve = [sys.executable, "-m", "gatewise", "serve", given.run, "--port"]
    keras = [sys.executable, "-c", BASELINE, given.run]
    servers = {
        "gatewise": subprocess.Popen([*serve, str(ports["gatewise"])]),
        "keras": subprocess.Popen(
            [*keras, str(ports["keras"])], env=os.environ | {"KERAS_BACKEND": "jax"}
        ),
    }
    try:
        for port in ports.values():
            wait_for(port)
        # One client at first, because the first call of Keras is not thread-safe; then all of them,
        # to compile for full batches.
        for clients in (1, given.clients):
            for port in ports.values():
                load(port, given.sequences, clients, 2)
        for _ in range(given.rounds):
            for name, port in ports.items():
                began = processor_time(servers[name])
                result = load(port, given.sequences, given.clients, given.seconds)
                used = processor_time(servers[name]) - began
                result["cpu_ms"] = used * 1000 / result["requests"]
                result["resident_mb"] = resident(servers[name])
                rounded = {key: round(value, 2) for key, value in result.items()}
                print(json.dumps({"server": name, "load": os.getloadavg()[0], **rounded}))
    finally:
        for server in servers.values():
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
