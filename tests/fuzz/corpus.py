"""Small files of every format that gatewise reads, as seeds of mutations."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

DAYS = [f"2022-01-{day:02d}" for day in range(1, 29)]


def lines(*given: str) -> bytes:
    """The lines as the content of a file."""
    return "\n".join([*given, ""]).encode()


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    """The bytes that a function writes."""
    target = io.BytesIO()
    save(target)
    return target.getvalue()


def packed(**files: bytes) -> bytes:
    """A zip archive of files, whose names end behind the first underscore."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return target.getvalue()


def found() -> Mapping[str, bytes]:
    """Inputs that once led to a traceback, by name."""
    archive = bytearray(packed(a_csv=lines("x", "1", "2")))
    archive[archive.index(b"PK\x01\x02") + 6] = 178  # the version of zip that is needed
    long = [{"id": k, "x": 1.0, "label": "a"} for k in (0, int("2" * 51), 2)]
    nameless = bytearray(packed(a_csv=lines("x", "1", "2"), b=b""))
    at = nameless.rindex(b"PK\x01\x02")  # the entry of the second file, whose name is empty
    nameless[at + 28 : at + 32] = b"\0\0\1\0"  # its letter becomes an extra field
    return {
        "number.json": json.dumps(long).encode(),
        "number.jsonl": lines(*map(json.dumps, long)),
        "version.zip": bytes(archive),
        "nameless.zip": bytes(nameless),
        "comments.txt": b"#" + b"\v" * 100 + b"\x05",
        "nothing.arff": lines("@data", "'3\\n4',b", "@attribute t0 numeric"),
        "escape.arff": lines(
            *("@relation a", "@attribute bag relational", "@attribute t0 numeric", "@end bag"),
            *("@attribute class {a,b}", "@data", "'1\\^2',a"),
        ),
        "header.npy": b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'shape'".ljust(118)
        + b"\0" * 8,
        "frequency.tsf": lines("@frequency", "@data", "1,2,3"),
        "answers.txt": lines(*["124", "124", "2 this is text number 20"] * 5),
    }


def seeds() -> Mapping[str, bytes]:
    """The name and the content of each seed."""
    series = lines("day,load", *[f"{day},{k * k % 7}" for k, day in enumerate(DAYS)])
    german = lines("Tag;Umsatz", *[f"{k:02d}.01.2022;1.{k:03d},50 €" for k in range(1, 29)])
    labelled = lines("id,x,label", *[f"{k},{k % 5},{'ab'[k % 2]}" for k in range(30)])
    tokens = lines(*["a DT\nman NN\nsleeps VB\n" for _ in range(10)])
    rows = [{"id": k, "x": [1.0, 2.0], "label": "ab"[k % 2]} for k in range(20)]
    frame = pl.DataFrame({"day": DAYS, "load": [float(k % 7) for k in range(28)]})
    x = np.arange(60, dtype=np.float64).reshape(10, 6)
    idx = b"\0\0\x08\x03" + np.array([4, 3, 3], ">u4").tobytes() + bytes(range(36))
    tsf = lines("@frequency daily", "@horizon 2", "@data", *["T:2020-01-01:1,2,3,4,5,6"] * 3)
    ts = lines("@problemName a", "@classLabel true a b", "@data", *["1,2,3:a", "2,3,4:b"] * 5)
    arff = lines(
        *("@relation a", *(f"@attribute t{k} numeric" for k in range(8))),
        *("@attribute class {a,b}", "@data", *["1,2,3,4,5,6,?,?,a", "2,3,4,5,6,7,8,9,b"] * 5),
    )
    bags = lines(
        *("@relation a", "@attribute bag relational", "@attribute t0 numeric", "@end bag"),
        *("@attribute class {a,b}", "@data", *["'1\\n2',a", "'3\\n4',b"] * 5),
    )
    texts = lines(*[f"{k % 3} this is text number {k}" for k in range(30)])
    return {
        "series.csv": series,
        "german.csv": german,
        "labelled.csv": labelled,
        "series.csv.gz": gzip.compress(series, mtime=0),
        "labels.tsv": labelled.replace(b",", b"\t"),
        "texts.txt": texts,
        "tokens.conll": tokens,
        "rows.jsonl": lines(*map(json.dumps, rows)),
        "rows.json": json.dumps(rows).encode(),
        "series.parquet": saved(frame.write_parquet),
        "arrays.npz": saved(lambda to: np.savez(to, x=x, y=np.arange(10) % 2)),
        "images.idx3-ubyte": idx,
        "series.tsf": tsf,
        "cases.ts": ts,
        "cases.arff": arff,
        "bags.arff": bags,
        "array.npy": saved(lambda to: np.save(to, x)),
        "parts.npz": saved(lambda to: np.savez(to, x_train=x, y_train=x[:, 0], x_test=x)),
        "joined.txt": lines(*["the/DT man/NN sleeps/VB"] * 30),
        "lines.json": lines(*map(json.dumps, rows)),
        "elapsed.csv": lines("elapsed,load", *[f"0:{k:02d}.500,{k % 7}" for k in range(28)]),
        "one.zip": packed(series_csv=series),
        "several.zip": packed(a_csv=series, b_csv=series),
    }
