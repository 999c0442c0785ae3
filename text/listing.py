"""Compute what a Python listing would print, as far as it is plain arithmetic.

Promises: nothing is executed; the listing is parsed, and numbers, names, + - * / // % **, a few
functions of numbers and straight functions of the listing are computed, within limits of depth,
steps and size. Whatever depends on anything else (a loop, a condition, a library) is unknown, and a
listing that prints something unknown is told to print nothing.
Not covered: text, lists, sets of equations, and a listing that does not parse: it prints nothing.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

MAX_CHARS = 4000
_MAX_STEPS, _MAX_DEPTH, _MAX_EXPONENT, _MAX_SIZE = 2000, 3, 64, 1e15

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    **{"abs": abs, "float": float, "int": int, "max": max, "min": min, "round": round},
    **{"ceil": math.ceil, "floor": math.floor, "str": float},
}


class _Unknown(Exception):
    """The value depends on something that is not computed here."""


class _Hidden(Exception):
    """Something is printed that is unknown, so that what is known may not be the answer."""


def printed(code: str) -> list[float]:
    """The numbers that the listing prints, or names in a last line, in their order."""
    if len(code) > MAX_CHARS:
        return []
    try:
        body = ast.parse(code).body
        reader = _Reader({}, {}, [_MAX_STEPS], 0)
        reader.run(body)
        if body and isinstance(body[-1], ast.Expr) and not reader.shown:
            reader.show([body[-1].value])
    except (SyntaxError, ValueError, _Unknown, _Hidden, RecursionError, MemoryError):
        return []
    return reader.shown


class _Reader:
    """One scope: its numbers, the functions it may call, the steps left to all, how deep it is."""

    def __init__(
        self,
        names: dict[str, float],
        functions: dict[str, ast.FunctionDef],
        steps: list[int],
        depth: int,
    ) -> None:
        self.names, self.functions, self.steps, self.depth = names, functions, steps, depth
        self.shown: list[float] = []

    def run(self, body: Sequence[ast.stmt]) -> float | None:
        """What a `return` in the body gives, or None without one."""
        for statement in body:
            match statement:
                case ast.Return(value=ast.expr() as value):
                    return self.value(value)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._assign(name, value)
                case ast.AugAssign(target=ast.Name(id=name) as target, op=sign, value=value):
                    read = ast.Name(id=name, ctx=ast.Load())
                    self._assign(target.id, ast.BinOp(left=read, op=sign, right=value))
                case ast.FunctionDef(name=name):
                    self.functions[name] = statement
                case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=arguments)):
                    self.show(arguments)
                case ast.Expr(ast.Call(func=ast.Name(id=name)) as call) if name in self.functions:
                    with suppress(_Unknown):
                        self.value(call)
                case ast.Expr() | ast.Import() | ast.ImportFrom():
                    pass
                case _:
                    self._forget(statement)
        return None

    def show(self, values: Sequence[ast.expr]) -> None:
        """Keep the values; of a text, what is put into it. Raises `_Hidden`."""
        try:
            self.shown += [self.value(each) for value in values for each in _within(value)]
        except _Unknown as error:
            raise _Hidden from error

    def value(self, node: ast.expr) -> float:
        """A finite number of reasonable size; raises `_Unknown`."""
        self.steps[0] -= 1
        if self.steps[0] < 0:
            raise _Unknown
        try:
            found = self._value(node)
        except (ArithmeticError, ValueError, TypeError) as error:
            raise _Unknown from error
        if not (isinstance(found, int | float) and abs(found) < _MAX_SIZE):
            raise _Unknown
        return found

    def _value(self, node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return value
            case ast.Name(id=name) if name in self.names:
                return self.names[name]
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self.value(inner)
            case ast.BinOp(op=ast.Pow(), left=left, right=right):
                exponent = self.value(right)
                if abs(exponent) > _MAX_EXPONENT:
                    raise _Unknown
                return math.pow(self.value(left), exponent)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
                return _BINARY[type(sign)](self.value(left), self.value(right))
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=given):
                return self._called(name, [self.value(each) for each in given], node)
        raise _Unknown

    def _called(self, name: str, given: list[float], call: ast.Call) -> float:
        own = self.functions.get(name)
        if own is None:
            if name not in _FUNCTIONS or call.keywords:
                raise _Unknown
            return _FUNCTIONS[name](*given)
        asked = [each.arg for each in own.args.args]
        bound = dict(zip(asked, given, strict=False))
        bound |= {each.arg: self.value(each.value) for each in call.keywords if each.arg}
        if self.depth >= _MAX_DEPTH or set(bound) != set(asked):
            raise _Unknown
        inner = _Reader(self.names | bound, dict(self.functions), self.steps, self.depth + 1)
        returned = inner.run(own.body)
        self.shown += inner.shown
        if returned is None:
            raise _Unknown
        return returned

    def _assign(self, name: str, value: ast.expr) -> None:
        try:
            self.names[name] = self.value(value)
        except _Unknown:
            self.names.pop(name, None)

    def _forget(self, statement: ast.stmt) -> None:
        """A loop or a condition may change what it names, print, and end the scope."""
        for node in ast.walk(statement):
            match node:
                case ast.Return() | ast.Name(id="print"):
                    raise _Hidden
                case ast.Name(id=name, ctx=ast.Store()):
                    self.names.pop(name, None)


def _within(value: ast.expr) -> Iterator[ast.expr]:
    match value:
        case ast.JoinedStr(values=parts):
            yield from (each.value for each in parts if isinstance(each, ast.FormattedValue))
        case ast.BinOp(op=ast.Add(), left=left, right=right) if any(map(_is_text, ast.walk(value))):
            yield from (*_within(left), *_within(right))
        case _ if not _is_text(value):
            yield value


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
