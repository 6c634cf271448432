"""Public docstrings agree with their signatures; their examples run as doctests."""

import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass

import pytest
from numpydoc.validate import validate

import mixsk

# Unknown sections, sections out of order; parameters that do not exist, out of order, without a type, without
# a space before the colon. https://numpydoc.readthedocs.io/en/latest/validation.html
FORM = {"GL06", "GL07", "PR02", "PR03", "PR04", "PR10"}
# And: no docstring, a parameter that is not documented.
COMPLETE = FORM | {"GL08", "PR01"}
# Not for users: short docstrings will do, as long as what they say is right.
INTERNAL = ("mixsk.backbones.", "mixsk.engine.")


def public_names():
    """Names that mixsk and what is directly in it export, each once, as "module.name"."""
    packages = ["mixsk", *(f"mixsk.{m.name}" for m in pkgutil.iter_modules(mixsk.__path__))]
    names = {}
    for package in map(importlib.import_module, packages):
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                names.setdefault(value, f"{package.__name__}.{name}")
    return sorted(names.values())


def public_methods(path):
    members = inspect.getmembers(pkgutil.resolve_name(path), inspect.isfunction)
    ours = [name for name, function in members if function.__module__.startswith("mixsk.")]
    return [f"{path}.{name}" for name in ours if not name.startswith("_")]


def problems(path, codes):
    return [f"{path}: {code} {text}" for code, text in validate(path)["errors"] if code in codes]


def is_record(value):
    """Whether its fields are documented as attributes: a dataclass, a named tuple, a protocol."""
    return is_dataclass(value) or hasattr(value, "_fields") or getattr(value, "_is_protocol", False)


@pytest.mark.parametrize("path", public_names())
def test_public_docstring_names_every_parameter_with_its_type_in_order(path):
    complete = not path.startswith(INTERNAL) and not is_record(pkgutil.resolve_name(path))
    assert problems(path, COMPLETE if complete else FORM) == []


@pytest.mark.parametrize("path", public_names())
def test_docstrings_of_public_methods_agree_with_their_signatures(path):
    assert [p for method in public_methods(path) for p in problems(method, FORM)] == []
