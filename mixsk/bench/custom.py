"""Methods of a user's own, from a Python file."""

import re
import sys
from dataclasses import replace
from importlib import invalidate_caches
from importlib.util import find_spec, module_from_spec
from pathlib import Path

from sklearn.base import is_classifier
from sklearn.model_selection import ParameterGrid

from mixsk.bench.methods import Method, all_methods


def methods_of_file(path):
    """Return what a file's METHODS has, as methods by name; errors name the file."""
    found = getattr(_run_file(path), "METHODS", None)
    if not isinstance(found, dict) or not found:
        got = "no METHODS" if found is None else f"METHODS = {found!r}"
        raise ValueError(
            f"{path} defines {got}, and should define a dict of names to classifiers, such as "
            'METHODS = {"forest": RandomForestClassifier()}.'
        )
    taken = {name.casefold() for name in all_methods()}
    methods = {}
    for name, value in found.items():
        where = f"{path}, METHODS[{name!r}]"
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", name):
            raise ValueError(
                f"{where}: a name is 1 to 100 letters, digits and . _ + -, and begins with a letter or digit."
            )
        if name.casefold() in taken:
            raise ValueError(f"{where}: another method has this name, if only in other capitals; rename it.")
        taken.add(name.casefold())
        methods[name] = replace(_checked(value, where), source=str(Path(path).expanduser().resolve()))
    return methods


def _run_file(path):
    """Run a file as a module of its own name, so that what it defines can be pickled."""
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise ValueError(f"cannot read the methods of {path}: there is no such file in {Path.cwd()}.")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # last: nothing of it stands before what is installed
        invalidate_caches()
    spec = None if "." in file.stem else find_spec(file.stem)
    if spec is None or Path(spec.origin or "").resolve() != file:
        why = "has a dot" if spec is None else f"is that of {spec.origin or 'a folder'}"
        raise ValueError(f"cannot import {path}: its module's name, {file.stem!r}, {why}. Rename the file.")
    module = sys.modules[file.stem] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[file.stem]
        raise ValueError(f"cannot read the methods of {path}: {type(error).__name__}: {error}") from error
    return module


def _checked(value, where):
    """A value of METHODS as a method."""
    if isinstance(value, type):
        raise ValueError(f"{where} is a class: give an object, {value.__name__}().")
    if not isinstance(value, Method) and not hasattr(value, "get_params"):
        raise ValueError(f"{where} is no classifier of scikit-learn's kind: {value!r}.")
    method = value if isinstance(value, Method) else Method(value)
    try:
        estimator = method.build(random_state=0)
        method._bare().set_params(**next(iter(ParameterGrid(method.grid or {}))))
        classifies = is_classifier(estimator)
    except Exception as error:
        raise ValueError(f"{where} cannot be used: {type(error).__name__}: {error}") from error
    if not classifies:
        raise ValueError(f"{where} is no classifier: {value!r}.")
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"{where} has no predict_proba, which log loss and calibration need: {value!r}. "
            "CalibratedClassifierCV gives it one."
        )
    return method
