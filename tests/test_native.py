"""The installed library agrees with native/tests/naive.cpp, on every instruction set."""

import ctypes
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy
import pytest

from gatewise.engine import library
from gatewise.errors import EngineError

ROOT = Path(__file__).parents[1]
COMPILERS = (os.environ.get("CXX"), "c++", "g++", "clang++")

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(one) for one in COMPILERS if one), reason="there is no C++ compiler"
)


def cmake() -> str:
    """The cmake of this environment, else that of the machine."""
    found = shutil.which("cmake", path=Path(sys.executable).parent) or shutil.which("cmake")
    assert found, "cmake is missing: pip install cmake"
    return found


def run(*command: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(one) for one in command],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | environment,
    )


@pytest.fixture(scope="module")
def check() -> Path:
    """native/tests/check, linked against the installed library."""
    reason = library.why_not()
    assert reason is None, reason
    installed = resources.files("gatewise.engine") / library.NAME
    folder = ROOT / "build" / "check"
    options = [f"-DGATEWISE_LIBRARY={installed}"]
    for command in (
        [cmake(), "-S", ROOT / "native" / "tests", "-B", folder, *options],
        [cmake(), "--build", folder],
    ):
        done = run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "check"


@needs_compiler
@pytest.mark.parametrize("isa", library.ISAS)
def test_the_library_agrees_with_its_definition(check, isa):
    done = run(check, isa, GATEWISE_ISA=isa)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr


@needs_compiler
def test_the_library_needs_only_the_c_library():
    if sys.platform != "linux" or not shutil.which("ldd"):
        pytest.skip("there is no ldd")
    library.load()
    needed = run("ldd", resources.files("gatewise.engine") / library.NAME).stdout
    names = {line.split()[0].split(".so")[0] for line in needed.splitlines() if line.split()}
    allowed = {"linux-vdso", "libc", "libm", "libpthread", "ld-linux-x86-64", "ld-linux-aarch64"}
    assert {Path(name).name for name in names} <= allowed


@needs_compiler
def test_ctypes_and_the_header_agree_on_the_structures(tmp_path):
    """Compares sizes and offsets with those of the compiler of this machine."""
    header = ROOT / "native" / "gatewise.h"
    lines, wanted = [], []
    for name, structure in (("lstm", library.Layer), ("gradient", library.Gradient)):
        for field, *_ in structure._fields_:
            lines.append(f"offsetof(gatewise_{name}, {field})")
            wanted.append(getattr(structure, field).offset)
        lines.append(f"sizeof(gatewise_{name})")
        wanted.append(ctypes.sizeof(structure))
    said = "".join(f'  std::printf("%zu\\n", {line});\n' for line in lines)
    source = (
        f'#include <cstddef>\n#include <cstdio>\n#include "{header}"\nint main() {{\n{said}}}\n'
    )
    (tmp_path / "layout.cpp").write_text(source, encoding="utf-8")
    compiler = next(filter(None, (shutil.which(one) for one in COMPILERS if one)))
    built = run(compiler, "-o", tmp_path / "layout", tmp_path / "layout.cpp")
    assert built.returncode == 0, built.stderr
    assert [int(one) for one in run(tmp_path / "layout").stdout.split()] == wanted


@needs_compiler
def test_threads_can_be_set_and_reset():
    at_first = library.threads()
    library.set_threads(3)
    assert library.threads() == 3
    library.set_threads(0)
    assert library.threads() == at_first >= 1


# What a step of a large model does in a thread of XLA: allocate, write and free an array.
ALLOCATING = """
import ctypes, resource, threading
from gatewise.engine import library
library.keep_memory()
c = ctypes.CDLL(None)
c.malloc.restype, size = ctypes.c_void_p, 96 << 20
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    memory = ctypes.c_void_p(c.malloc(ctypes.c_size_t(size)))
    ctypes.memset(memory, 1, size)
    c.free(memory)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
found = []
thread = threading.Thread(target=lambda: found.extend(faults() for _ in range(3)))
thread.start()
thread.join()
print(*found)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_thread_reuses_the_memory_of_a_large_array():
    done = run(sys.executable, "-c", ALLOCATING)
    assert done.returncode == 0, done.stderr
    _, *later = map(int, done.stdout.split())
    pages = (96 << 20) // resource.getpagesize()
    assert max(later) < pages / 100, done.stdout  # without it, each array has all of its pages anew


@needs_compiler
def test_an_instruction_set_is_chosen_by_name():
    code = "from gatewise.engine import library; print(library.isa())"
    done = run(sys.executable, "-c", code, GATEWISE_ISA="portable")
    assert done.stdout.strip() == "portable", done.stderr


OPENED = """
import sys
from pathlib import Path
from gatewise.engine import library
from gatewise.errors import EngineError
whole, here, other = map(Path, sys.argv[1:])
content = whole.read_bytes()
here.write_bytes(content)
assert library._opened(here).gatewise_version() == library.VERSION
for size in (0, 10, 64, 1000, 5000, len(content) // 2, len(content) - len(content) // 4):
    cut = here.with_name(f"cut{size}")
    cut.write_bytes(content[:size])
    try:
        library._opened(cut)
    except EngineError as error:
        assert "pip install --force-reinstall --no-cache-dir" in str(error)
    else:
        raise AssertionError(f"{size} bytes are a library")
for size, wrong in enumerate((b"", b"no library", bytes(5000), b"\x7fELF" + bytes(5000))):
    here.with_name(f"wrong{size}").write_bytes(wrong)
    try:
        library._opened(here.with_name(f"wrong{size}"))
    except EngineError as error:
        continue
    raise AssertionError(wrong[:9])
try:
    library._opened(other)
except EngineError as error:
    print(error)
"""


@needs_compiler
def test_a_truncated_or_foreign_library_is_one_sentence(tmp_path):
    """In a separate process, because the system may kill it."""
    installed = resources.files("gatewise.engine") / library.NAME
    other = Path(numpy.linalg._umath_linalg.__file__)
    done = run(sys.executable, "-c", OPENED, installed, tmp_path / "whole", other)
    assert done.returncode == 0, done.stderr
    assert "is not the core of gatewise" in done.stdout and "gatewise_version" in done.stdout


ENVIRONMENTS = {
    "an unknown instruction set": ({"GATEWISE_ISA": "typo"}, "portable that .* Received: typo."),
    "no instruction set": ({"GATEWISE_ISA": ""}, r"^\d+$"),
    "too many threads": (
        {"OMP_NUM_THREADS": "99999999999"},
        r"from 1 to 1024. Received: 99999999999. The LSTM kernels use \d+ threads",
    ),
    "threads for each level": ({"OMP_NUM_THREADS": "3,1"}, "^3$"),
    "threads in words": ({"OMP_NUM_THREADS": "two"}, "Received: two"),
}


@needs_compiler
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_request_of_the_environment_is_met_or_a_sentence_says_why_not(name):
    environment, said = ENVIRONMENTS[name]
    code = "from gatewise.engine import library; print(library.why_not() or library.threads())"
    done = run(sys.executable, "-c", code, **environment)
    assert done.returncode == 0, done.stderr
    assert re.search(said, (done.stderr + done.stdout).strip())


INSTALLED = {
    "gatewise": None,
    "--editable '/a b/c'": {"url": "file:///a%20b/c", "dir_info": {"editable": True}},
    "/a/c": {"url": "file:///a/c", "dir_info": {}},
    "/a/gatewise-1.tar.gz": {"url": "file:///a/gatewise-1.tar.gz", "archive_info": {}},
    "git+https://a/c": {"url": "https://a/c", "vcs_info": {"vcs": "git", "commit_id": "1"}},
}


@pytest.mark.parametrize("source", INSTALLED)
def test_the_remedy_names_what_gatewise_was_installed_from(source, tmp_path):
    """The metadata that pip stores with a package says so."""
    folder = tmp_path / "gatewise-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: gatewise\nVersion: 0.1.0\n")
    if INSTALLED[source]:
        (folder / "direct_url.json").write_text(json.dumps(INSTALLED[source]))
    code = "from gatewise.engine import library; print(library._remedy())"
    done = run(sys.executable, "-c", code, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip().endswith(f"--no-cache-dir --no-deps {source}"), done.stderr


def test_a_missing_library_is_one_sentence_with_its_remedy(monkeypatch):
    monkeypatch.setattr(library, "NAME", "libnowhere.so")
    library.load.cache_clear()
    with pytest.raises(EngineError, match=r"without its C\+\+ core.*Install a C\+\+ compiler"):
        library.load()
    assert "libnowhere.so" in library.why_not()


@pytest.fixture(autouse=True)
def loaded_anew():
    yield
    library.load.cache_clear()
