"""Every public docstring has an example. Those of the async names, which await, run here; pytest runs the others."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import sys
import traceback

import pytest

import chuk_artifacts
from chuk_artifacts import aio, browse, filesystem, gateway, instrumentation, listings, previews, testing

GRID = ("canonical_prefix", "artifact_key", "parse", "is_valid_grid_key", "validate_grid_key", "artifact_id_in")
WITH_MEMBERS = (chuk_artifacts.ArtifactStore, aio.ArtifactStore, aio.Reader, aio.Response, gateway.Response)
"""The classes whose methods are documented; the values have only fields."""


def public():
    """Yield each public name, with what it names."""
    for module in (chuk_artifacts, aio, gateway, filesystem, browse):
        for name in module.__all__:
            if name != "__version__":
                yield f"{module.__name__}.{name}", getattr(module, name)
    for name in GRID:
        yield f"chuk_artifacts.grid.{name}", getattr(chuk_artifacts.grid, name)
    for value in (testing.ArtifactClock, listings.Listing, previews.Preview, instrumentation.Instrumentation):
        yield f"{value.__module__}.{value.__qualname__}", value
    for kind in WITH_MEMBERS:
        for name, value in vars(kind).items():
            if name[0] != "_" and (callable(value) or isinstance(value, (property, classmethod))):
                yield f"{kind.__module__}.{kind.__qualname__}.{name}", value


PUBLIC = dict(public())


def examples_of_aio():
    """Yield each docstring of the async modules that has examples, with its module."""
    for found in pkgutil.iter_modules(aio.__path__, "chuk_artifacts.aio."):
        module = importlib.import_module(found.name)
        for one in doctest.DocTestFinder(exclude_empty=True).find(module):
            if one.examples:
                yield pytest.param(one, id=one.name.removeprefix("chuk_artifacts.aio."))
    yield from (pytest.param(one, id="aio") for one in doctest.DocTestFinder().find(aio) if one.name == aio.__name__)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_has_an_example(name):
    """The docstring shows the name at work."""
    doc = inspect.getdoc(PUBLIC[name])
    own = name.rpartition(".")[2]
    example = doc.partition("Example:")[2] or doc
    assert ">>> " in example
    if not (inspect.isclass(PUBLIC[name]) and issubclass(PUBLIC[name], Exception)):
        assert own in example or inspect.isclass(PUBLIC[name])


def test_async_examples_await():
    """The example of an async method awaits it, though the rest of its docstring is the blocking one's."""
    for name, value in vars(aio.ArtifactStore).items():
        if inspect.iscoroutinefunction(value) and name[0] != "_":
            assert f"await store.{name}(" in value.__doc__ or f"await bob.{name}(" in value.__doc__, name


@pytest.mark.parametrize("one", list(examples_of_aio()))
def test_example_of_aio(one):
    """The example does what it shows, in a notebook or in ``python -m asyncio``."""
    loop = asyncio.new_event_loop()
    try:
        for example in one.examples:
            printed = run(example, one.globs, loop)
            expected = example.want if example.exc_msg is None else example.exc_msg
            assert doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS), (example.source, printed)
        store = one.globs.get("store")
        if isinstance(store, aio.ArtifactStore):
            loop.run_until_complete(store.close())
    finally:
        loop.close()


def run(example, names, loop):
    """Run an example that may await, and return what it prints, or the last line of its traceback."""
    printed = io.StringIO()
    code = compile(example.source, "<example>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(printed), shown_as_by_doctest():
        try:
            waiting = eval(code, names)
            if inspect.iscoroutine(waiting):
                loop.run_until_complete(waiting)
        except Exception as error:
            if example.exc_msg is None:
                raise
            return "".join(traceback.format_exception_only(error))
    return printed.getvalue()


@contextlib.contextmanager
def shown_as_by_doctest():
    """Print the values of expressions, whatever shows them otherwise."""
    before, sys.displayhook = sys.displayhook, sys.__displayhook__
    try:
        yield
    finally:
        sys.displayhook = before
