"""Every public name exists and has a docstring."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import gatewise

MODULES = [
    one.name
    for one in pkgutil.walk_packages(gatewise.__path__, "gatewise.")
    if "__main__" not in one.name
]


def tree_of(name):
    """The source of a module, which may import a framework for seconds."""
    return ast.parse(Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8"))


def own(tree, kinds):
    """The public functions and classes that a module or a class defines itself."""
    return [one for one in tree.body if isinstance(one, kinds) and not one.name.startswith("_")]


def is_dataclass(kind):
    return any("dataclass" in ast.unparse(one) for one in kind.decorator_list)


def is_described(thing):
    """True for a real docstring; a dataclass without one has its signature instead."""
    text = inspect.getdoc(thing) or ""
    return bool(text) and not text.startswith(f"{thing.__name__}(")


@pytest.mark.parametrize("name", gatewise.__all__)
def test_public_names_resolve_and_have_a_docstring(name):
    assert is_described(getattr(gatewise, name))
    assert name in dir(gatewise)


def test_the_reference_shows_every_public_name_and_no_other():
    page = (Path(__file__).parents[1] / "docs" / "reference.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: (\S+)\.(\w+)$", page, re.MULTILINE)
    assert sorted(name for _, name in shown) == sorted(gatewise.__all__)
    for module, name in shown:
        assert getattr(importlib.import_module(module), name) is getattr(gatewise, name)


def test_public_names_are_listed_once():
    assert len(gatewise.__all__) == len(set(gatewise.__all__))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        gatewise.trian  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_modules_and_what_they_define_have_docstrings(name):
    tree = tree_of(name)
    defined = own(tree, (ast.FunctionDef, ast.ClassDef))
    assert ast.get_docstring(tree) or not defined, f"{name} has no docstring"
    for one in defined:
        assert ast.get_docstring(one), f"{name}.{one.name} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_public_methods_of_dataclasses_have_docstrings(name):
    for kind in filter(is_dataclass, own(tree_of(name), ast.ClassDef)):
        for one in own(kind, ast.FunctionDef):
            assert ast.get_docstring(one), f"{name}.{kind.name}.{one.name} has no docstring"
