"""Tests of compiled programs that are kept between runs of the command line."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from gatewise import compiled


@pytest.fixture(autouse=True)
def as_a_user(monkeypatch, tmp_path):
    for name in (compiled.FOLDER, *compiled.ALL):
        monkeypatch.setenv(name, "")  # the value of before is restored afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    with warnings.catch_warnings():
        yield


def test_the_folder_is_of_the_user_and_of_one_kind_of_processor(monkeypatch, tmp_path):
    compiled.keep()
    folder = Path(os.environ[compiled.FOLDER])
    assert folder.parent == tmp_path / "caches" / "gatewise" / "compiled"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert compiled.described() == f"0 programs, 0.0 MB, in {folder}"
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert compiled.place().is_absolute()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(compiled, "_processor", lambda: "flags: fpu")
    assert compiled.place() != folder


def test_a_folder_that_the_user_chose_stays(monkeypatch):
    monkeypatch.setenv(compiled.FOLDER, "mine")
    compiled.keep()
    assert os.environ[compiled.FOLDER] == "mine"
    assert not set(compiled.ALL) & set(os.environ)


def test_nothing_is_kept_where_nothing_can_be_written(monkeypatch, tmp_path):
    (tmp_path / "caches").write_text("a file")
    compiled.keep()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError))
    compiled.keep()
    assert compiled.FOLDER not in os.environ
    assert "no folder for them that can be written" in compiled.described()
    monkeypatch.setenv(compiled.FOLDER, "")  # as the user turns the cache of JAX off
    compiled.keep()
    assert compiled.described() == f"not kept, because {compiled.FOLDER} is empty"


def test_the_programs_that_were_not_used_for_longest_are_removed(monkeypatch):
    folder = compiled.place()
    folder.mkdir(parents=True)
    for age, name in enumerate("cab"):
        (folder / f"{name}-cache").write_bytes(b"12345")
        os.utime(folder / f"{name}-cache", (1e9 - age, 1e9))
    monkeypatch.setattr(compiled, "LIMIT", 10)
    compiled.keep()
    assert {path.name for path in folder.iterdir()} == {"c-cache", "a-cache"}


def test_commands_keep_programs_and_a_script_does_as_before(tmp_path):
    script = "import jax, keras; print(jax.config.jax_compilation_cache_dir)"
    (tmp_path / "script.py").write_text(script)
    environ = os.environ | {"KERAS_BACKEND": "jax"}
    told = [
        subprocess.run(
            [sys.executable, "-m", "gatewise", *arguments],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for arguments in (["run", "script.py"], ["info", "--json"])
    ]
    assert told[0] == "None\n"
    assert json.loads(told[1])["compiled"].endswith(str(compiled.place()))
    assert compiled.place().is_dir()
