"""Loose reading of JSON values, with the words of pydantic 1 for what cannot be read.

A genuine WebUI validates with pydantic 1: it takes `"4"` or `4.7` for the integer 4 and `5` for the text
"5", and its error bodies carry that version's messages. pydantic 2 does neither, so each kind of value gets
a validator of its own here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

_TRUE = frozenset({1, "1", "on", "t", "true", "y", "yes"})
_FALSE = frozenset({0, "0", "off", "f", "false", "n", "no"})


def _refuse(kind: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(kind, message)


def _integer(value: object) -> int:
    """Floats lose their fraction; texts must spell an integer."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        raise _refuse("type_error.integer", "value is not a valid integer") from None


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise _refuse("type_error.float", "value is not a valid float") from None


def _text(value: object) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    raise _refuse("type_error.str", "str type expected")


def _truth(value: object) -> bool:
    key = value.lower() if isinstance(value, str) else value
    if isinstance(key, str | int | float):
        if key in _TRUE:
            return True
        if key in _FALSE:
            return False
    raise _refuse("type_error.bool", "value could not be parsed to a boolean")


def _array(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise _refuse("type_error.list", "value is not a valid list")


def to_object(value: object) -> dict[Any, Any]:
    """A mapping as it is; a list only when its items are pairs, so that `[]` counts as `{}`."""
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return dict(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        raise _refuse("type_error.dict", "value is not a valid dict") from None


def _not_null(read: Callable[[object], object]) -> Callable[[object], object]:
    def validate(value: object) -> object:
        if value is None:
            raise _refuse("type_error.none.not_allowed", "none is not an allowed value")
        return read(value)

    return validate


def _or_null(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else read(value)


_KINDS: dict[str, tuple[Any, Callable[[object], object]]] = {
    "integer": (int, _integer),
    "number": (float, _number),
    "string": (str, _text),
    "boolean": (bool, _truth),
    "array": (list[Any], _array),
    "object": (dict[str, Any], to_object),
}


def loose_type(kind: str, *, nullable: bool) -> Any:
    """The annotation of a loosely read field.

    Args:
        kind: a JSON schema type ("integer", "number", "string", "boolean", "array" or "object").
        nullable: whether null is accepted (and kept).
    """
    bare, read = _KINDS[kind]
    if nullable:
        return Annotated[bare | None, BeforeValidator(_or_null(read))]
    return Annotated[bare, BeforeValidator(_not_null(read))]


def in_range(described: Mapping[str, Any]) -> Callable[[Any], Any]:
    """A validator that refuses what a JSON schema's bounds or list of values leave out."""
    allowed = described.get("enum")
    bounds: tuple[tuple[str, Callable[[Any, Any], bool], str, str], ...] = (
        ("exclusiveMinimum", operator.gt, "not_gt", "greater than"),
        ("minimum", operator.ge, "not_ge", "greater than or equal to"),
        ("maximum", operator.le, "not_le", "less than or equal to"),
    )

    def validate(value: Any) -> Any:
        if allowed is not None and value not in allowed:
            listed = ", ".join(map(str, allowed))
            context = {"given": value, "permitted": allowed}
            raise PydanticCustomError("value_error.const", f"unexpected value; permitted: {listed}", context)
        for bound, holds, kind, words in bounds:
            limit = described.get(bound)
            if limit is not None and not holds(value, limit):
                message = f"ensure this value is {words} {limit:g}"
                raise PydanticCustomError(f"value_error.number.{kind}", message, {"limit_value": limit})
        return value

    return validate
