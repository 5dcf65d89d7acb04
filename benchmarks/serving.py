"""Requests a second of `gatewise serve`, and of the same model behind Keras's predict in FastAPI.

    python benchmarks/serving.py RUN SEQUENCES.json [--clients 200] [--seconds 10] [--rounds 2]

SEQUENCES.json holds numbers as [sequences][steps][columns]; each request sends it to both servers,
which take turns. `cpu_ms` is the processor time that a server takes for a request; on a busy
machine it is steadier than the time that passes. The run must read numbers, and `predict` in
FastAPI gets them unscaled, so the baseline does less work than the server of gatewise. It predicts
in the thread of the event loop, because Keras on JAX fails in several threads at once.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

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


async def client(port: int, body: bytes, until: float, times: list[float]) -> int:
    """Send requests one after the other on one connection, and count those that failed."""
    failed = 0
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        began = time.perf_counter()
        writer.write(head.encode() + body)
        header = await reader.readuntil(b"\r\n\r\n")
        length = header.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        times.append(time.perf_counter() - began)
        failed += not header.startswith(b"HTTP/1.1 200")
    writer.close()
    return failed


async def load(port: int, body: bytes, clients: int, seconds: float) -> dict[str, float]:
    """The requests a second and the latencies of this many clients."""
    times: list[float] = []
    began = time.perf_counter()
    jobs = [client(port, body, began + seconds, times) for _ in range(clients)]
    failed = sum(await asyncio.gather(*jobs))
    spent = time.perf_counter() - began
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    return {
        "requests": len(times),
        "per_second": len(times) / spent,
        "p50_ms": p50,
        "p99_ms": p99,
        "failed": failed,
    }


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
    for _ in range(600):
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
    body = given.sequences.read_bytes()
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
        for (
            port
        ) in ports.values():  # one client, because the first call of Keras is not thread-safe
            asyncio.run(load(port, body, 1, 2))
        for port in ports.values():  # compile for full batches
            asyncio.run(load(port, body, given.clients, 2))
        for _ in range(given.rounds):
            for name, port in ports.items():
                began = processor_time(servers[name])
                result = asyncio.run(load(port, body, given.clients, given.seconds))
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
