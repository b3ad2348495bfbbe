"""Statements of Python that are written down first, shown as code, and run when names are given.

``sc.pp.scale(adata, max_value=10)`` is a term where ``sc`` and ``adata`` are names: what is shown is what is run.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Call", "Infix", "Name", "Statement", "Term", "ad", "adata", "code_of", "files", "graph", "np_", "sc", "sp"]

INFIX: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "@": operator.matmul,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}


class Term:
    """An expression: attributes, items and calls of it are expressions, too."""

    def __getattr__(self, name: str) -> Term:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Attribute(self, name)

    def __getitem__(self, key: Any) -> Term:
        return _Item(self, key)

    def __iter__(self) -> None:
        msg = "A term has no items before it is evaluated."
        raise TypeError(msg)

    def __call__(self, *args: Any, **kwargs: Any) -> Term:
        return Call(self, args, kwargs)


@dataclass(frozen=True, eq=False)
class Name(Term):
    """A variable, or a module."""

    _name: str


@dataclass(frozen=True, eq=False)
class _Attribute(Term):
    _of: Term
    _name: str


@dataclass(frozen=True, eq=False)
class _Item(Term):
    _of: Term
    _key: Any


@dataclass(frozen=True, eq=False)
class Call(Term):
    """A call."""

    _of: Term
    _args: tuple[Any, ...]
    _kwargs: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Infix(Term):
    """Two terms or values with an operator between."""

    _left: Any
    _symbol: str
    _right: Any


def code_of(value: Any) -> str:
    """Return the code of a term, or of a value in one."""
    match value:
        case Name():
            return value._name
        case _Attribute():
            return f"{code_of(value._of)}.{value._name}"
        case _Item():
            return f"{code_of(value._of)}[{_code_of_key(value._key)}]"
        case Call():
            arguments = [code_of(a) for a in value._args] + [f"{k}={code_of(v)}" for k, v in value._kwargs.items()]
            return f"{code_of(value._of)}({', '.join(arguments)})"
        case Infix():
            return f"{code_of(value._left)} {value._symbol} {code_of(value._right)}"
        case np.ndarray():
            return f'np.array({value.tolist()}, dtype="{value.dtype}")'
        case list():
            return f"[{', '.join(map(code_of, value))}]"
        case tuple():
            return f"({', '.join(map(code_of, value))}{',' * (len(value) == 1)})"
        case dict():
            return f"{{{', '.join(f'{k!r}: {code_of(v)}' for k, v in value.items())}}}"
        case float() if not np.isfinite(value):
            return f"np.{value}"  # nan and inf
        case _:
            return repr(value)


def _code_of_key(key: Any) -> str:
    if isinstance(key, tuple) and key:
        return ", ".join(map(_code_of_key, key))
    if isinstance(key, slice):
        start, stop, step = ("" if part is None else code_of(part) for part in (key.start, key.stop, key.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return code_of(key)


def _evaluate(value: Any, names: Mapping[str, Any]) -> Any:
    """Return what a term, or a value in one, is: a value of its own, which a call may write into."""
    match value:
        case Name():
            return names[value._name]
        case _Attribute():
            return getattr(_evaluate(value._of, names), value._name)
        case _Item():
            return _evaluate(value._of, names)[_evaluate(value._key, names)]
        case Call():
            function = _evaluate(value._of, names)
            kwargs = {k: _evaluate(v, names) for k, v in value._kwargs.items()}
            return function(*(_evaluate(a, names) for a in value._args), **kwargs)
        case Infix():
            return INFIX[value._symbol](_evaluate(value._left, names), _evaluate(value._right, names))
        case np.ndarray():
            return value.copy()
        case list() | tuple():
            return type(value)(_evaluate(v, names) for v in value)
        case dict():
            return {k: _evaluate(v, names) for k, v in value.items()}
        case slice():
            return slice(*(_evaluate(part, names) for part in (value.start, value.stop, value.step)))
        case _:
            return value


@dataclass(frozen=True)
class Statement:
    """A term that is evaluated, and what its value is assigned to.

    Parameters
    ----------
    term
        What is evaluated; None deletes a target that is an item.
    target
        A variable, an attribute or an item.
    """

    term: Any
    target: Term

    def __str__(self) -> str:
        target = code_of(self.target)
        return f"del {target}" if self._deletes() else f"{target} = {code_of(self.term)}"

    def _deletes(self) -> bool:
        return self.term is None and isinstance(self.target, _Item)

    def run(self, names: dict[str, Any]) -> None:
        """Run the statement with these names, among which variables are set."""
        target = self.target
        if isinstance(target, Name):
            names[target._name] = _evaluate(self.term, names)
        elif isinstance(target, _Attribute):
            setattr(_evaluate(target._of, names), target._name, _evaluate(self.term, names))
        elif self._deletes():
            del _evaluate(target._of, names)[_evaluate(target._key, names)]
        else:
            value = _evaluate(self.term, names)
            _evaluate(target._of, names)[_evaluate(target._key, names)] = value


adata = Name("adata")
ad, np_, sc, sp = Name("ad"), Name("np"), Name("sc"), Name("sparse")
files = Name("files")  # where an AnnData is written and read again: a `data.Files`
graph = Name("graph")  # makes neighbors: `data.graph`
