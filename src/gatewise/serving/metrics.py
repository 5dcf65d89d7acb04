"""Counters in the text format of Prometheus.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

import bisect
import os
import resource
import threading
from collections import Counter, defaultdict
from pathlib import Path

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histogram:
    """Observations of one quantity, counted in buckets, for each value of a label."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts: dict[str, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self.sums: dict[str, float] = defaultdict(float)

    def add(self, label: str, value: float) -> None:
        """Count one observation."""
        self.counts[label][bisect.bisect_left(self.bounds, value)] += 1
        self.sums[label] += value

    def text(self, name: str) -> list[str]:
        """The lines of the text format."""
        lines = []
        for label, counts in sorted(self.counts.items()):
            total = 0
            for bound, count in zip((*self.bounds, "+Inf"), counts, strict=True):
                total += count
                lines.append(f'{name}_bucket{{model={_quoted(label)},le="{bound}"}} {total}')
            lines.append(f"{name}_sum{{model={_quoted(label)}}} {self.sums[label]:.9g}")
            lines.append(f"{name}_count{{model={_quoted(label)}}} {total}")
        return lines


class Metrics:
    """What a server counts; any thread may call its methods."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds = Histogram(SECONDS)
        self._batches = Histogram(SIZES)

    def on_answer(self, model: str, status: int, seconds: float) -> None:
        """Count an answered or refused request; "" is the model of a request that named none."""
        with self._lock:
            self._requests[model, status] += 1
            if status == 200:
                self._seconds.add(model, seconds)

    def on_batch(self, model: str, size: int) -> None:
        """Count a run of the network for this many requests."""
        with self._lock:
            self._batches.add(model, size)

    def text(self, pending: int, sessions: int) -> str:
        """The page of metrics; `pending` requests wait, and `sessions` sequences are open."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        with self._lock:
            lines = [
                *_head("gatewise_requests_total", "counter", "Requests by model and status."),
                *(
                    f'gatewise_requests_total{{model={_quoted(model)},status="{status}"}} {count}'
                    for (model, status), count in sorted(self._requests.items())
                ),
                *_head("gatewise_request_seconds", "histogram", "Seconds until the answer."),
                *self._seconds.text("gatewise_request_seconds"),
                *_head("gatewise_batch_requests", "histogram", "Requests of a run of the network."),
                *self._batches.text("gatewise_batch_requests"),
                *_head("gatewise_pending_requests", "gauge", "Requests that wait."),
                f"gatewise_pending_requests {pending}",
                *_head("gatewise_open_sequences", "gauge", "Sequences that are streamed."),
                f"gatewise_open_sequences {sessions}",
                *_head("process_resident_memory_bytes", "gauge", "Resident memory."),
                f"process_resident_memory_bytes {_resident()}",
                *_head("process_cpu_seconds_total", "counter", "Processor time."),
                f"process_cpu_seconds_total {usage.ru_utime + usage.ru_stime:.3f}",
            ]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
