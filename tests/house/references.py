"""What the docstrings refer to: every ``:role:`target``` of both packages, resolved."""

from __future__ import annotations

import builtins
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pipecat_bandwidth
import workbench

#: The roles that pdoc turns into links. A target is a name of the same class or module, or a full
#: one; a ``~`` before it would be printed.
LINK = re.compile(r":(?:mod|func|class|meth|attr|data|exc|const|obj):`([\w.]+)`")
ROLE = re.compile(r":[a-z:]+:`[^`]*`")


def modules() -> list[ModuleType]:
    """Every module of both packages."""
    names = [
        name
        for package in (pipecat_bandwidth, workbench)
        for _, name, _ in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
        if not name.endswith("__main__")
    ]
    return [pipecat_bandwidth, workbench, *map(importlib.import_module, names)]


def broken(module: ModuleType) -> list[str]:
    """The references of a module's docstrings that lead nowhere, and the roles that are none."""
    found = []
    for where, scopes, text in docstrings(module):
        for role in ROLE.findall(text):
            link = LINK.fullmatch(role)
            if link and not resolves(link[1], scopes):
                found.append(f"{where}: {role} leads nowhere")
            elif not link and not role.startswith(":math:"):
                found.append(f"{where}: {role} is no role and full name")
    return found


def docstrings(module: ModuleType) -> Iterator[tuple[str, list[Any], str]]:
    """Where each docstring of a module stands, the scopes it sees from inside out, and itself."""
    yield module.__name__, [module], module.__doc__ or ""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield from _of_class(value, [value, module])
        elif inspect.isroutine(value):
            yield f"{module.__name__}.{name}", [module], value.__doc__ or ""


def _of_class(cls: type, scopes: list[Any]) -> Iterator[tuple[str, list[Any], str]]:
    where = f"{cls.__module__}.{cls.__qualname__}"
    yield where, scopes, cls.__doc__ or ""
    for name, value in vars(cls).items():
        if inspect.isclass(value) and value.__module__ == cls.__module__:
            yield from _of_class(value, [value, *scopes])
        elif isinstance(value, (property, classmethod, staticmethod)) or inspect.isroutine(value):
            yield f"{where}.{name}", scopes, value.__doc__ or ""


def resolves(name: str, scopes: list[Any]) -> bool:
    """Whether a name belongs to one of the scopes, is built in, or can be imported."""
    parts = name.split(".")
    if any(_has(scope, parts) for scope in [*scopes, builtins]):
        return True
    for count in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return _has(module, parts[count:])
    return False


def _has(thing: Any, parts: list[str]) -> bool:
    """Whether each part is an attribute of the one before it, or the last of a class's instances."""
    for index, part in enumerate(parts):
        if not hasattr(thing, part):
            return index == len(parts) - 1 and part in _of_instances(thing)
        thing = getattr(thing, part)
    return True


def _of_instances(thing: Any) -> set[str]:
    """Attributes that a class annotates, or that its docstring lists."""
    if not inspect.isclass(thing):
        return set()
    listed = re.findall(r"^\s+(\w+): ", inspect.getdoc(thing) or "", re.MULTILINE)
    annotated = (vars(base).get("__annotations__", ()) for base in thing.__mro__)
    return {*listed, *(name for names in annotated for name in names)}
