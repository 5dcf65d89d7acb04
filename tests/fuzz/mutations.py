"""Random changes of a file: bytes, lines, numbers in headers, and signs that readers look for."""

import gzip
import io
import random
import zipfile
from contextlib import suppress

SIGNS = [
    *(b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b'"', b"'", b"\r", b"\n\n", b"\t", b";"),
    *(b",,,,", b"#", b"NaN", b"inf", b"-", b"1e400", b"9" * 40, b"2022-13-45", b"24:00", b"%"),
    *(b"null", b"[[[[", b"{", b"}", b"@data", b":", b"\xf0\x9f\x98\x80", b"\xe2\x80\xa8", b"1904"),
    *(b"99999999-01-01", b"0000-00-00", b"1e-320", b"EUR", b"-2147483648", b"9223372036854775807"),
]


def mutated(content: bytes, source: random.Random) -> bytes:
    """The content after one to four random changes; of a packed file, half of them inside."""
    if content.startswith((b"PK", b"\x1f\x8b")) and source.random() < 0.5:
        with suppress(Exception):  # the guided fuzzer mutates damaged files again
            return _mutated_inside(content, source)
    return _changed(content, source)


def _mutated_inside(content: bytes, source: random.Random) -> bytes:
    """The packed file with changes of one file in it."""
    if content.startswith(b"\x1f\x8b"):
        return gzip.compress(_changed(gzip.decompress(content), source), mtime=0)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = source.choice(list(files))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for one, inner in files.items():
            archive.writestr(one, _changed(inner, source) if one == name else inner)
    return target.getvalue()


def _changed(content: bytes, source: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(made) + 1)
        end = min(len(made), at + source.choice([1, 1, 2, 4, 8, 64]))
        match source.randrange(7):
            case 0:
                made[at:end] = bytes(source.randrange(256) for _ in range(end - at))
            case 1:
                made[at:at] = source.choice(SIGNS)
            case 2:
                made[at:end] = source.choice(SIGNS)
            case 3:
                del made[at : at + source.choice([1, 8, 64, len(made)])]
            case 4:
                made[at:at] = made[at:end] * source.choice([1, 2, 50])
            case 5:
                rows = bytes(made).split(b"\n")
                source.shuffle(rows)
                made = bytearray(b"\n".join(rows))
            case _:
                if at < len(made):
                    made[at] ^= 1 << source.randrange(8)
    return bytes(made)
