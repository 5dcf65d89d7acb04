"""Small files of every format that gatewise reads, as seeds of mutations."""

import gzip
import io
import json
import wave as wavefile
import zipfile
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

REGIONS = tuple(enumerate(("Hubei,China", ",France", ",Chad", ",Peru")))
CONLLU = "%d\t%s\t_\tDET\tDT\t_\t2\tdet\t_\t_"
PLACES = ("Province/State", "Country/Region", "Lat", "Long")
FLAGGED = ("1.5 ", "2.5 p", ": ", "4.0 bu", "5.1", ": c", "-7.5 e", "8")
DAYS = [f"2022-01-{day:02d}" for day in range(1, 29)]


PAIRS = [[f"2020-01-{day:02d}", day / 2] for day in range(1, 25)]


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


def workbook(*rows: str) -> bytes:
    """A workbook of one sheet, whose cells are texts or numbers."""
    base = "http://schemas.openxmlformats.org"
    sheets, office = f"{base}/spreadsheetml/2006/main", f"{base}/officeDocument/2006/relationships"

    def cell(text: str) -> str:
        if text.replace(".", "").isdigit():
            return f"<c><v>{text}</v></c>"
        return f'<c t="inlineStr"><is><t>{text}</t></is></c>'

    def linked(kind: str, target: str) -> str:
        link = f'<Relationship Id="r0" Type="{office}/{kind}" Target="{target}"/>'
        return f'<Relationships xmlns="{base}/package/2006/relationships">{link}</Relationships>'

    table = "".join(f"<row>{''.join(map(cell, row.split(',')))}</row>" for row in rows)
    files = {
        "[Content_Types].xml": f'<Types xmlns="{base}/package/2006/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": linked("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{sheets}" xmlns:r="{office}">'
        '<sheets><sheet name="one" sheetId="1" r:id="r0"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": linked("worksheet", "worksheets/1.xml"),
        "xl/worksheets/1.xml": f'<worksheet xmlns="{sheets}"><sheetData>{table}</sheetData>'
        '<mergeCells><mergeCell ref="A2:A3"/></mergeCells></worksheet>',
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def wave(rate: int = 8000) -> bytes:
    """A recording of a tenth of a second."""
    target = io.BytesIO()
    with wavefile.open(target, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.sin(np.arange(rate // 10) / 5) * 9999).astype("<i2").tobytes())
    return target.getvalue()


def found() -> Mapping[str, bytes]:
    """Inputs that once led to a traceback, by name."""
    archive = bytearray(packed(a_csv=lines("x", "1", "2")))
    archive[archive.index(b"PK\x01\x02") + 6] = 178  # the version of zip that is needed
    long = [{"id": k, "x": 1.0, "label": "a"} for k in (0, int("2" * 51), 2)]
    broken = bytearray(workbook("day,load", *[f"{day},1" for day in DAYS]))
    broken[broken.index(b"Relationship Id")] ^= 1  # a sum of bits no longer fits
    old = saved(lambda to: np.save(to, np.arange(60.0).reshape(10, 6)))
    tokens = [json.dumps({"tokens": ["a"], "ner_tags": tags}) for tags in ([0], None, [None])]
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
        "endless.arff": lines(
            *("@relation a", "@attribute (t+)+x relational", "@attribute t0 numeric"),
            *("@end " + "t" * 40, "@end (t+)+x", "@attribute class {a,b}", "@data", "'1\\n2',a"),
        ),
        "header.npy": b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'shape'".ljust(118)
        + b"\0" * 8,
        "frequency.tsf": lines("@frequency", "@data", "1,2,3"),
        "broken.xlsx": bytes(broken),
        "week.csv": lines("week,x", f"{'9' * 44},1"),
        "torn.txt": lines(
            *("+-----+---+", "| ", "", "day | x |", "+-----+---+"),
            *[f"| {day} | 1 |" for day in DAYS],
        ),
        "names.zip": packed(**{f"{name * 16_000}_wav": wave() for name in "ab"}),
        "python2.npy": old.replace(b"(10, 6), }  ", b"(10L, 6), } "),
        "untagged.jsonl": lines(*tokens),
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
    parts = saved(lambda to: np.savez(to, x_train=x, y_train=x[:, 0], x_test=x, y_test=x[:, 0]))
    named = ("@attribute series_name string", "@attribute start_timestamp date")
    tsf = lines(
        *named,
        "@frequency daily",
        "@horizon 2",
        "@data",
        *[f"T{k}:2020-01-01 00-00-00:1,2,3,4,5,6" for k in range(3)],
    )
    ts = lines("@problemName a", "@classLabel true a b", "@data", *["1,2,3:a", "2,3,4:b"] * 5)
    arff = lines(
        *("@relation a", *(f"@attribute t{k} numeric" for k in range(8))),
        *("@attribute class {a,b}", "@data", *["1,2,3,4,5,6,?,?,a", "2,3,4,5,6,7,8,9,b"] * 5),
    )
    bags = lines(
        *("@relation a", "@attribute bag relational", "@attribute t0 numeric", "@end bag"),
        *("@attribute class {a,b}", "@data", *["'1\\n2',a", "'3\\n4',b"] * 5),
    )
    years = [
        f'"{name}","{name[:3]}","Births",{",".join(str(k * k % 9) for k in range(8))}'
        for name in ("Aruba", "Benin", "Chile")
    ]
    cases = [f"1/{day}/20" for day in range(22, 31)]
    regions = [f"{name},{k}.5,{k},{','.join(map(str, range(k, k + 9)))}" for k, name in REGIONS]
    words = [{"tokens": ["a", "man", "sleeps"], "ner_tags": [0, 1, 0]} for _ in range(12)]
    vectors = lines("id,x,label", *[f'{k},"[1. 2. {k}.]",{"ab"[k % 2]}' for k in range(12)])
    answers = [
        {"metric": {"job": job}, "values": [[1700000000 + 60 * k, str(k % 7)] for k in range(30)]}
        for job in "ab"
    ]
    flagged = list(enumerate([*FLAGGED, *FLAGGED]))
    aligned = [f"{day}  {('New York', 'Rome')[k % 2]:12}{k % 9:6.1f}" for k, day in enumerate(DAYS)]
    people = [{"result": [{"value": {"start": 0, "end": 3, "text": "Ann", "labels": ["P"]}}]}]
    quoted = [f'"good ""x"",\n{k}",{k % 2}' for k in range(30)]
    bars = [f"| {day} | {k * k % 7} |" for k, day in enumerate(DAYS)]
    read = {f"{name}/{k}_wav": wave() for name in ("no", "yes") for k in range(3)}
    said = {f"{k}_wav": wave() for k in range(3)} | {f"{k}_txt": b"hello world" for k in range(3)}
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
        "parts.npz": parts,
        "parts.npz#test": parts,
        "joined.txt": lines(*["the/DT man/NN sleeps/VB"] * 30),
        "lines.json": lines(*map(json.dumps, rows)),
        "elapsed.csv": lines("elapsed,load", *[f"0:{k:02d}.500,{k % 7}" for k in range(28)]),
        "worldbank.csv": lines(
            f'"Country Name","Country Code","Indicator",{",".join(map(str, range(1990, 1998)))}',
            *years,
        ),
        "hopkins.csv": lines(",".join((*PLACES, *cases)), *regions),
        "beside.csv": lines("review,sentiment", *quoted),
        "ragged.csv": lines(
            *[f"{'walk' if k % 2 else 'run'},0.3{',0.4' * (k % 4)}" for k in range(20)]
        ),
        "pairs.json": json.dumps(
            {name: [[1704067200000 + 3600000 * k, k % 7] for k in range(40)] for name in "xy"}
        ).encode(),
        "cells.json": json.dumps(
            [["day", "x"], *[[f"2024-01-{k:02d}", k % 7] for k in range(1, 31)]]
        ).encode(),
        "lists.jsonl": lines(*map(json.dumps, words)),
        "gluonts.jsonl": lines(
            *[
                json.dumps(
                    {"start": "2024-01-31", "freq": "D", "target": list(range(30)), "cat": [k]}
                )
                for k in range(3)
            ]
        ),
        "pixels.csv": lines("label,pixels", *[f"{k % 2},{k} 2 3 4 5 6 7 8 9" for k in range(20)]),
        "periods.csv": lines(
            "settlement_date,settlement_period,nd",
            *[f"{1 + k // 48:02d}-JAN-2023,{1 + k % 48},{k % 7}" for k in range(96)],
        ),
        "zones.csv": lines(
            "at,load", *[f"01/{1 + k:02d}/2023 05:00 PM EST,{k % 7}" for k in range(28)]
        ),
        "ts.txt": lines(
            "     Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
            *[f"{1990 + k} {' '.join(str(100 + j) for j in range(12))}" for k in range(6)],
        ),
        "kaggle.csv": lines("Sentence #,Word,POS", *["S: 1,a,DT", ",man,NN", ",sleeps,VB"] * 9),
        "corpus.conllu": lines(*["# text = a man", CONLLU % (1, "a"), CONLLU % (2, "man"), ""] * 9),
        "spans.txt": lines(*["Ann B-PER", "Lee I-PER", "sleeps O", ""] * 12),
        "vectors.csv": vectors,
        "drawn.txt": lines("+-----+---+", "| day | x |", "+-----+---+", *bars, "+-----+---+"),
        "pairs.tsv": lines("en\tde", *[f"a house {k}\tein Haus {k}" for k in range(30)]),
        "plain.txt": lines(*["The cat sat on the mat; it slept, and it dreamt of fish."] * 9),
        "weekdays.csv": lines("week,x", *[f"2020-W{k:02d},{k % 5}" for k in range(1, 40)]),
        "book.xlsx": workbook("day,load", *series.decode().splitlines()[1:]),
        "tone.wav": wave(),
        "sounds.zip": packed(**read),
        "spoken.zip": packed(**said),
        "texts.zip": packed(**{f"{name}/{k}_txt": texts for name in "ab" for k in range(3)}),
        "prometheus.json": json.dumps({"status": "success", "data": {"result": answers}}).encode(),
        "eurostat.tsv": lines(
            "unit,geo\\TIME_PERIOD\t" + "\t".join(f"{year} " for year in range(2012, 2020)),
            *[f"PC,{geo}\t" + "\t".join(FLAGGED) for geo in ("AT", "BE", "DE")],
        ),
        "flags.csv": lines("month,rate", *[f"20{k:02d}-01,{one}" for k, one in flagged]),
        "fixed.txt": lines("DAY         PLACE         LOAD", *aligned),
        "quarters.csv": lines(
            "quarter,x", *[f"FY{k // 4} Q{k % 4 + 1},{k}" for k in range(8000, 8032)]
        ),
        "spans.jsonl": lines(
            *map(json.dumps, [{"text": "Ann ran.", "entities": [[0, 3, "P"]]}] * 9)
        ),
        "studio.json": json.dumps(
            [{"data": {"text": "Ann ran."}, "annotations": people}] * 9
        ).encode(),
        "names.json": json.dumps({"set": {"columns": ["day", "x"], "data": PAIRS}}).encode(),
        "beside.json": json.dumps(
            {"r": [{"time": list(range(9)), "of": {"x": [0.5] * 9, "y": [1] * 9}}]}
        ).encode(),
        "parts.json": json.dumps({"train": PAIRS, "test": PAIRS[:4], "none": []}).encode(),
        "offsets.json": json.dumps([["Ann ran.", {"entities": [[0, 3, "P"]]}], None] * 9).encode(),
        "comments.txt": lines(
            *("# 260: here", "#", "# STN,YYYYMMDD,  HH,  T", "#"),
            *[f"  260,202001{k // 24 + 1:02d},{k % 24 + 1:5d},{k:5d}" for k in range(72)],
        ),
        "once.csv": lines(
            "Year,Month,x",
            *[f"{'' if k % 12 else 2000 + k // 12},{k % 12 + 1},{k}" for k in range(36)],
        ),
        "described.csv": lines(
            *('"Title","CPI"', '"CDID","D7BT"', '"Unit",""', '"1990","4"'),
            *[f'"{1990 + k // 4} Q{k % 4 + 1}","{k}"' for k in range(32)],
        ),
        "sentences.csv": lines(
            "Sentence,Tag", *["Ann saw Rome,\"['B-per', 'O', 'B-geo']\""] * 9, "so,['O']"
        ),
        "wav.scp": lines("a a.wav", "b b.wav"),
        "one.zip": packed(series_csv=series),
        "several.zip": packed(a_csv=series, b_csv=series),
    }
