"""How good is the answer that the defaults give?

    GATEWISE_DATA=... python benchmarks/defaults.py [--only gunpoint nyc-taxi] [--quality fast]

Runs `gatewise train` on the public sets of the data folder with nothing but what names the data:
files, columns and, for forecasts, the horizon. Prints and writes one table: the verdict on the
parts of the test, time and memory. Each finished set is written to
benchmarks/results/defaults-QUALITY.json at once, and a set that is already there is skipped unless
--again is given.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gatewise.runs.artefact import environment

RESULTS = Path(__file__).parent / "results"
UEA = ("GunPoint", "ItalyPowerDemand", "JapaneseVowels")
CLASSIC = (
    "airline-passengers",
    "daily-min-temperatures",
    "daily-total-female-births",
    "monthly-sunspots",
    "shampoo",
)
NAB = {
    "nab-small-noise": "artificialNoAnomaly/art_daily_small_noise",
    "nab-jumps-up": "artificialWithAnomaly/art_daily_jumpsup",
    "nab-ambient-temperature": "realKnownCause/ambient_temperature_system_failure",
    "nab-request-latency": "realKnownCause/ec2_request_latency_system_failure",
    "nab-machine-temperature": "realKnownCause/machine_temperature_system_failure",
    "nab-taxi": "realKnownCause/nyc_taxi",
}


def write(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """A table of texts and their labels."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def intents(folder: Path, data: Path) -> None:
    """Join sentences and intents of ATIS, which are two files; only intents of the train part."""
    known: set[str] = set()
    for part in ("train", "valid", "test"):
        texts, labels = (
            (data / f"atis/{part}/{name}").read_text(encoding="utf-8").splitlines()
            for name in ("seq.in", "label")
        )
        known = known or {label for label in labels if labels.count(label) > 1}
        rows = [pair for pair in zip(texts, labels, strict=True) if pair[1] in known]
        write(folder / f"{part}.csv", rows)


def surnames(folder: Path, data: Path) -> None:
    """Join the surnames, which are a file for each language."""
    files = sorted((data / "surnames").glob("*.txt"))
    rows = [(name, one.stem) for one in files for name in one.read_text("utf-8").splitlines()]
    write(folder / "surnames.csv", rows)


def sentences(folder: Path, data: Path) -> None:
    """Write the sentences of SST, whose lines begin with the label."""
    for path in (data / "sst").glob("stsa.*"):
        lines = path.read_text(encoding="utf-8").splitlines()
        pairs = (line.partition(" ") for line in lines)
        name = path.name.removeprefix("stsa.")
        write(folder / f"{name}.csv", [(text, label) for label, _, text in pairs])


# Sets to write first, because they are not in a form that gatewise reads.
MADE: dict[str, Callable[[Path, Path], None]] = {
    "atis-intents": intents,
    "surnames": surnames,
    "sst-binary": sentences,
    "sst-fine": sentences,
}


def commands() -> dict[str, list[str]]:
    """The arguments of `gatewise train` for each set; {made} is the folder of a set made here."""
    parts = "data.validation={0} data.test={1}".format
    sets = {name: f"classic-series/{name}.csv --task forecast" for name in CLASSIC}
    sets |= {f"{name}": f"nab/data/{path}.csv" for name, path in NAB.items()}
    for name in ("daily-min-temperatures", "nab-ambient-temperature"):
        sets[name] += " data.gaps=fill"
    for name in ("nab-request-latency", "nab-machine-temperature"):
        sets[name] += " data.duplicates=first data.gaps=ignore"
    for name in UEA:
        path = f"uea/{name}/{name}_"
        sets[name.lower()] = f"{path}TRAIN.ts data.test={path}TEST.ts"
    for name in ("binary", "fine"):
        held = parts(f"{{made}}/{name}.dev.csv", f"{{made}}/{name}.test.csv")
        sets[f"sst-{name}"] = f"{{made}}/{name}.train.csv {held} --task classify --target label"
    ewt = "ud-english-ewt/en_ewt-ud-"
    for name in ("ETTh1", "ETTh2"):
        for horizon in (24, 96, 336):
            sets[f"{name.lower()}-{horizon}"] = (
                f"ett/{name}.csv --target OT --horizon {horizon} split.train=8640 "
                "split.validation=2880 split.test=2880"
            )
    sets |= {
        "surnames": "{made}/surnames.csv --task classify --target label data.text=text",
        "sms-spam": "sms-spam",
        "atis-slots": f"atis/train/seq.in {parts('atis/valid/seq.in', 'atis/test/seq.in')} "
        "--task tag",
        "atis-intents": f"{{made}}/train.csv {parts('{made}/valid.csv', '{made}/test.csv')} "
        "--task classify",
        "ewt": f"{ewt}train.conllu.gz {parts(f'{ewt}dev.conllu', f'{ewt}test.conllu')} --task tag",
        "imdb": "imdb/imdb_train.csv.gz data.test=imdb/imdb_test.csv.gz --task classify "
        "--target sentiment",
        "digits-spoken": "fsdd/recordings data.pattern={{label}}_{{speaker}}_{{take}} "
        r"split.test_ids=_[0-4]\.wav$ --task classify",
        "digits-drawn": "mnist/train-images-idx3-ubyte.gz "
        "data.test=mnist/t10k-images-idx3-ubyte.gz",
        "m4-hourly": "m4-hourly/Hourly-train.csv --task forecast --horizon 48",
        "shakespeare": "tinyshakespeare/input.txt --task language",
        "multi30k": "multi30k/train.en.gz data.label=de "
        f"{parts('multi30k/val.en.gz', 'multi30k/test_2016_flickr.en.gz')} --task translate",
    }
    return {name: arguments.split() for name, arguments in sets.items()}


def run(name: str, arguments: list[str], quality: str, data: Path, limit: float) -> dict[str, Any]:
    """Train on one set in a process of its own: its verdict, or the reason why there is none."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if name in MADE:
            MADE[name](folder, data)
        words = [one.format(made=folder) for one in arguments]
        given = [("--set", one) if "=" in one else (one,) for one in words]
        command = [sys.executable, "-m", "gatewise", "train", *(w for pair in given for w in pair)]
        command += ["--set", f"training.quality={quality}"] if quality else []
        command += ["--json", "-o", str(folder / "run")]
        out, err = folder / "out", folder / "err"
        began = time.perf_counter()
        with out.open("w") as stdout, err.open("w") as stderr:
            process = subprocess.Popen(command, stdout=stdout, stderr=stderr, cwd=folder)
            ended = wait(process, limit)
        seconds = time.perf_counter() - began
        if ended is None:
            return {"set": name, "verdict": f"not finished in {limit:.0f} s"}
        status, usage = ended
        if status:
            reason = err.read_text().strip().splitlines()[-1].removeprefix("gatewise: ")
            return {"set": name, "verdict": f"failed: {reason}"}
        metrics = json.loads(out.read_text().splitlines()[-1])
        verdict = metrics["verdict"]
        return {
            "set": name,
            "verdict": word_of(verdict),
            **{key: verdict[key] for key in ("metric", "ours", "theirs", "against", "clusters")},
            "alone": metrics["alone"].get(verdict["metric"]),
            "seconds": round(seconds, 1),
            "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "memory_mb": round(usage.ru_maxrss / 1024),
            "load": round(os.getloadavg()[0], 1),
        }


def wait(process: "subprocess.Popen[bytes]", limit: float) -> tuple[int, Any] | None:
    """The exit status and the resources of a process; None, and it ends, after `limit` seconds."""
    began = time.perf_counter()
    while time.perf_counter() - began < limit:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage
        time.sleep(0.2)
    process.kill()
    process.wait()
    return None


def word_of(verdict: dict[str, Any]) -> str:
    """The verdict in one word or two."""
    if verdict["better"] is None:
        return "too little data" if verdict["low"] is None else "not distinguishable"
    return "better" if verdict["better"] else "worse"


def table(rows: list[dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| set | verdict | metric | network | best baseline | | seconds | MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        if "metric" not in one:
            lines.append(f"| {one['set']} | {one['verdict']} | | | | | | |")
            continue
        cells = (
            *(
                one["set"],
                one["verdict"],
                one["metric"],
                f"{one['ours']:.4g}",
                f"{one['theirs']:.4g}",
            ),
            *(one["against"], f"{one['seconds']:.0f}", f"{one['memory_mb']:,}"),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Run the chosen sets and print the table of all results so far."""
    sets = commands()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="+", choices=sets, default=list(sets), metavar="SET")
    parser.add_argument("--quality", default="", help="training.quality; empty: the default")
    parser.add_argument("--name", default="", help="of the file of results; empty: the quality")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for one set")
    parser.add_argument("--again", action="store_true", help="repeat sets that have a result")
    chosen = parser.parse_args()
    data = Path(os.environ.get("GATEWISE_DATA", ""))
    if not (data / "uea").is_dir():
        parser.error("GATEWISE_DATA must be the folder of public data sets (docs/benchmarks.md).")
    label = chosen.name or chosen.quality or "default"
    path = RESULTS / f"defaults-{label}.json"
    known = json.loads(path.read_text()) if path.exists() else {"environment": {}, "rows": []}
    results = {row["set"]: row for row in known["rows"]}
    for name in chosen.only:
        if name in results and not chosen.again:
            continue
        result = run(name, sets[name], chosen.quality, data.resolve(), chosen.limit)
        results[name] = result
        known = {"environment": environment(), "rows": list(results.values())}
        path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
        print(result, flush=True)
    print(table(known["rows"]))


if __name__ == "__main__":
    main()
