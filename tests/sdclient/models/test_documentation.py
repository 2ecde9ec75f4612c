"""Each field of a request has words below it in the source, so that none is forgotten."""

from __future__ import annotations

import ast
import inspect

import pytest

from sdclient import models
from sdclient.models import Request

REQUESTS = [
    kind
    for kind in vars(models).values()
    if isinstance(kind, type) and issubclass(kind, Request) and kind is not Request
]


def is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_each_field_of_a_request_says_what_it_means(kind: type[Request]) -> None:
    statements = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(statements, ast.ClassDef)
    assert ast.get_docstring(statements)
    silent = [
        ast.unparse(line.target)
        for line, below in zip(statements.body, [*statements.body[1:], ast.Pass()], strict=True)
        if isinstance(line, ast.AnnAssign) and not is_text(below)
    ]
    assert not silent


def test_the_requests_are_found() -> None:
    assert {models.Img2ImgRequest, models.ControlNetUnit, models.InternalProgressRequest} <= set(REQUESTS)
