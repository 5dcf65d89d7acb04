"""What does a signal at a random moment leave of a verb, and does the same command go on?

    [KERAS_BACKEND=torch] python benchmarks/signals.py [VERB ...] [--each 4] [--seed 0]

Runs each verb on small shipped data without interruption. Then it runs it again in processes that
SIGINT, SIGTERM or SIGKILL reaches at a random moment, and checks what is left: a run, a file or a
search is complete or absent, what was there before is unchanged, the message is a sentence, and the
exit status is 130 or 143 if the work was not done. The same command (`train` with --resume) must
then end well and give the same. A moment is a share of the processor time of the whole, because a
busy machine stretches the clock. Writes benchmarks/results/signals-BACKEND.json, in which the other
verbs keep their rows.
"""

import argparse
import contextlib
import gzip
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kills import content, differences, start

from gatewise.errors import ArtefactError
from gatewise.readers.datasets import path_of
from gatewise.runs import artefact

RESULTS = Path(__file__).parent / "results"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
SMALL = ["--set", "network.units=[8]", "--set", "evaluation.n_resamples=100"]
DATA = ["seattle-weather", *SMALL, "--set", "training.quality=fast"]
RUNS = {
    "forecast": [*DATA, "--epochs", "2"],
    "language": ["shakespeare", *SMALL, "--epochs", "1"],
}
STACK = [*DATA, "--set", "network.kind=stack"]  # four networks of the other kind compile a minute
PORT = 8765
IDLE = 5.0  # seconds without processor time after which a process, a server, waits
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Verb:
    """A verb, what it writes, and how that is compared."""

    words: list[str]  # {run} is a finished run, {out} what is written
    out: str = "out"
    read: Callable[[Path], Any] = Path.read_bytes  # the content of `out`; raises if it is not whole
    run: str = "forecast"  # the key in RUNS of {run}


def run_of(folder: Path) -> Any:
    """The content of a run folder, every file of which is as the manifest says."""
    check(folder)
    if not (folder / "predictions.csv").exists():  # a signal asked to skip the evaluation
        return {"unevaluated": True}
    return content(folder)


def check(folder: Path) -> None:
    """Refuse a run folder that is not whole.

    It is not loaded, because the threads of the libraries would be lost in later copies of this
    process.
    """
    files = json.loads((folder / "manifest.json").read_text())["files"]
    artefact.verify(folder, list(files))


def page_of(path: Path) -> str:
    """A page that is complete."""
    text = path.read_text()
    if not text.rstrip().endswith("</html>"):
        raise ArtefactError(f"{path} is cut off")
    return text


def tree_of(folder: Path) -> dict[str, str]:
    """The hash of every file of a folder, by name."""
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    return {
        str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest() for one in files
    }


def search_of(folder: Path) -> int:
    """The finished trials of a search; its runs are whole, and its study can be read."""
    for name in ("best", "default"):
        if (folder / name).exists():
            check(folder / name)
    if (folder / "tuning.json").exists():
        json.loads((folder / "tuning.json").read_text())
    if not (folder / "study.journal").exists():
        return 0
    lines = (folder / "study.journal").read_bytes().split(b"\n")[:-1]
    return sum(json.loads(line).get("state") in (1, 2) for line in lines)  # complete, pruned


def folder_of(folder: Path) -> Any:
    """The files of an export without those that name the time."""
    if not any(folder.iterdir()):
        raise ArtefactError(f"{folder} is empty")
    return {name: digest for name, digest in tree_of(folder).items() if name.endswith(".onnx")}


VERBS = {
    "train": Verb(["train", *DATA, "--epochs", "6", "-o", "{out}"], read=run_of),
    "tune": Verb(
        ["tune", *STACK, "--trials", "2", "--epochs", "1", "-o", "{out}"],
        read=search_of,
    ),
    "curve": Verb(
        ["curve", *STACK, "--repeats", "1", "--epochs", "1", "-o", "{out}", "--overwrite"],
        "out.html",
        page_of,
    ),
    "stream": Verb(["stream", "{run}"], "stdout"),
    "predict": Verb(["predict", "{run}", "seattle-weather", "-o", "{out}", "--overwrite"], "a.csv"),
    "evaluate": Verb(["evaluate", "{run}", "seattle-weather"], "stdout"),
    "inspect": Verb(["inspect", "{run}", "-o", "{out}", "--overwrite"], "a.html", page_of),
    "report": Verb(["report", "{run}", "--overwrite"], "run/report.html", page_of),
    "export": Verb(
        ["export", "{run}", "--to", "onnx", "-o", "{out}", "--overwrite"], read=folder_of
    ),
    "generate": Verb(
        ["generate", "{run}", "--length", "500", "--seed", "1"], "stdout", run="language"
    ),
    "look": Verb(["look", "seattle-weather"], "stdout"),
    "compare": Verb(["compare", "{run}", "{other}"], "stdout"),
    "settings": Verb(["settings"], "stdout"),
    "datasets": Verb(["datasets"], "stdout"),
    "info": Verb(["info"], "stdout"),
    "serve": Verb(["serve", "{run}", "--port", str(PORT)], "stdout"),
}


def stopped(process: int, number: int, after: float) -> int:
    """Send a signal after `after` seconds of processor time: the exit status, as a shell gives it.

    A process that ended, or that uses no more, gets it at once.
    """
    used, grew = 0.0, time.perf_counter()
    while used < after and time.perf_counter() < grew + IDLE:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.001)
        if (now := processor_time(process)) > used:
            used, grew = now, time.perf_counter()
    os.kill(process, number)
    _, status = os.waitpid(process, 0)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def processor_time(process: int) -> float:
    """The seconds of processor time that a process and its ended children have used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def ended(process: int, verb: str) -> tuple[int, float]:
    """The exit status and the processor time of a process; a server is ended by SIGTERM."""
    if verb == "serve":
        wait_for_server(process)
        os.kill(process, signal.SIGTERM)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    used = processor_time(process)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), used


def wait_for_server(process: int) -> None:
    """Wait until the server answers, or its process ends."""
    while not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v2/health/live", timeout=1).read()
        except OSError:
            time.sleep(0.01)
        else:
            return


class Trial:
    """One verb in one folder."""

    def __init__(self, name: str, folder: Path, trained: Path) -> None:
        self.name, self.verb, self.folder = name, VERBS[name], folder
        self.run, self.other, self.log = folder / "run", folder / "other", folder / "log"
        shutil.copytree(trained, self.run)
        shutil.copytree(trained, self.other)
        self.before = tree_of(self.run)
        self.out, self.rows = folder / self.verb.out, folder / "rows.csv"
        self.kept = (self.run, self.other, self.log, self.rows)
        self.rows.write_bytes(gzip.decompress(path_of("seattle-weather").read_bytes()))

    def start(self, *more: str) -> int:
        """A process of the verb."""
        names = {"run": self.run, "other": self.other, "out": self.out}
        words = [word.format(**names) for word in self.verb.words]
        given = self.rows if self.name == "stream" else None
        return start([*words, *more], self.log, out=self.folder / "stdout", given=given)

    def content(self) -> Any:
        """What was written: None if nothing was, "cut" with the reason if it is not whole."""
        if not self.out.exists():
            return None
        try:
            return self.verb.read(self.out)
        except (ArtefactError, ValueError, OSError, KeyError) as error:
            return f"cut: {error}"

    def faults(self, number: int, status: int, whole: Any) -> list[str]:
        """What is wrong after a signal."""
        found, said = [], self.log.read_text()
        left = self.content()
        if isinstance(left, str) and left.startswith("cut"):
            found.append(left)
        after = tree_of(self.run)
        if self.name != "report" and after != self.before:
            found.append("the run was changed")
        if self.name == "report" and set(after) != set(self.before):
            found.append(f"left in the run: {set(after) ^ set(self.before)}")
        if self.name == "stream" and not whole.startswith(left):
            found.append("the answers are not the beginning of those of an uninterrupted stream")
        if "Traceback" in said or "Exception ignored" in said:
            found.append(f"traceback: {said[-600:]}")
        if self.verb.out == "stdout" and (more := self.made() - {"stdout"}):
            found.append(f"left: {sorted(more)}")
        if number == signal.SIGKILL:
            return found
        if status not in (0, STATUS[number]):
            found.append(f"status {status}")
        if status and not said.splitlines()[-1:][0].startswith("gatewise: "):
            found.append(f"no sentence: {said[-200:]!r}")
        hidden = [name for name in self.made() if name.startswith(".")]
        return found + ([f"left: {hidden}"] if hidden else [])

    def made(self) -> set[str]:
        """The names of what the verb wrote into its folder, which it runs in."""
        return {one.name for one in self.folder.iterdir() if one not in self.kept}

    def clear(self) -> None:
        """Remove what was written, but not the run."""
        for one in self.folder.iterdir():
            if one not in self.kept:
                shutil.rmtree(one) if one.is_dir() else one.unlink()


def state_of(left: Any, status: int, folder: Path) -> str:
    """What a signal left, in a word or two."""
    checkpoint = (folder / "out.checkpoint").exists()
    what = "nothing" if left is None else "output"
    return f"{what}{' and checkpoint' if checkpoint else ''}, status {status}"


def tried(name: str, each: int, draw: random.Random, trained: Path) -> dict[str, Any]:
    """One verb: as a whole, and stopped `each` times by each signal."""
    states: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as where, contextlib.chdir(where):
        trial = Trial(name, Path(where), trained)
        status, longest = ended(trial.start(), name)
        whole = trial.content()
        if status or isinstance(whole, str) and whole.startswith("cut"):
            sys.exit(f"{name} failed ({status}):\n{trial.log.read_text()[-3000:]}")
        for number in SIGNALS * each:
            trial.clear()
            after = draw.uniform(0.0, longest)
            status = stopped(trial.start(), number, after)
            left = trial.content()
            states[f"{number.name}: {state_of(left, status, trial.folder)}"] += 1
            found = trial.faults(number, status, whole)
            if name == "train" and left is not None:
                trial.clear()  # a run that was ended early is whole, and is trained anew
            kept = left if name == "tune" and left is not None else 0
            resumes = name == "train" and (trial.folder / "out.checkpoint").exists()
            status, _ = ended(trial.start(*(["--resume"] if resumes else [])), name)
            again = trial.content()
            if status:
                found.append(f"again: status {status}: {trial.log.read_text()[-600:]}")
            elif name == "tune" and again < max(kept, 2):
                found.append(f"again: {again} finished trials, {kept} before")
            elif name == "train" and (other := differences(whole, again)):
                found.append(f"again: {other}")
            elif name not in ("train", "tune", "serve") and again != whole:
                found.append("again: another result")
            faults += [f"{number.name} after {after:.2f} s: {one}" for one in found]
            for one in faults[len(faults) - len(found) :]:
                print(f"  {name}: {one}", flush=True)
    return {"verb": name, "signals": 3 * each, "faults": faults, "left": dict(states)}


def note(found: dict[str, Any]) -> None:
    """Write the row of a verb; the other verbs keep theirs."""
    path = RESULTS / f"signals-{os.environ.get('KERAS_BACKEND', 'jax')}.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = {one["verb"]: one for one in before}
    left = "; ".join(f"{state}: {count}" for state, count in sorted(found["left"].items()))
    rows[found["verb"]] = found | {"faults": len(found["faults"]), "left": left}
    kept = [rows[verb] for verb in VERBS if verb in rows]
    path.write_text(json.dumps({"rows": kept}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verbs", nargs="*", metavar="VERB", help=", ".join(VERBS))
    parser.add_argument("--each", type=int, default=4, help="signals of each kind for each verb")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # A process that was started in the background inherits "ignore Ctrl-C".
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for module in ("pipeline", "tuning.search", "curves.curve", "serving.server"):
        importlib.import_module(f"gatewise.{module}")
    draw, found = random.Random(given.seed), []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        for name in given.verbs or VERBS:
            kind = VERBS[name].run
            trained = Path(folder) / kind
            words = ["train", *RUNS[kind], "-o", str(trained)]
            if not trained.exists() and ended(start(words, log), "train")[0]:
                sys.exit(log.read_text()[-3000:])
            found.append(tried(name, given.each, draw, trained))
            print(json.dumps(found[-1]), flush=True)
            note(found[-1])
    sys.exit(any(one["faults"] for one in found))


if __name__ == "__main__":
    main()
