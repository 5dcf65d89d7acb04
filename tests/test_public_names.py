"""Every public name exists and has a docstring."""

import importlib
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


def own_names(module):
    """Public functions and classes that a module defines itself."""
    for name, thing in vars(module).items():
        mine = getattr(thing, "__module__", None) == module.__name__
        if (
            mine
            and not name.startswith("_")
            and (inspect.isfunction(thing) or inspect.isclass(thing))
        ):
            yield name, thing


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
    module = importlib.import_module(name)
    defined = list(own_names(module))
    assert module.__doc__ or not defined, f"{name} has no docstring"
    for own, thing in defined:
        assert is_described(thing), f"{name}.{own} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_public_methods_of_dataclasses_have_docstrings(name):
    module = importlib.import_module(name)
    for own, kind in own_names(module):
        if not hasattr(kind, "__dataclass_fields__"):
            continue
        for method, thing in vars(kind).items():
            bare = thing.fget if isinstance(thing, property) else getattr(thing, "__func__", thing)
            if not method.startswith("_") and inspect.isfunction(bare):
                assert bare.__doc__, f"{name}.{own}.{method} has no docstring"


def test_no_module_has_the_name_of_a_public_function():
    """Otherwise `gatewise.report` would be the module, once anything imports it."""
    assert not {name.removeprefix("gatewise.") for name in MODULES} & set(gatewise.__all__)
