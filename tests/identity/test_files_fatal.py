"""Code of users' classes ends no process that identifies their objects, whatever it raises."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from dask._task_spec import Task

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import Identifier, register_identity
from seamless_dask_cache.identity.graph import identify_graph
from seamless_dask_cache.identity.objects import registered

FATAL = [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException]


class Wordless(BaseException):
    def __str__(self):
        raise SystemExit("no words")


class PathOf(os.PathLike):
    def __init__(self, kind):
        self.kind = kind

    def __fspath__(self):
        raise self.kind("no such project")


class Reduced:
    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        raise self.kind("cannot be pickled")


class Declared:
    def __init__(self, kind):
        self.kind = kind

    def __seamless_identity__(self):
        raise self.kind("cannot say")


class Registered:
    def __init__(self, kind):
        self.kind = kind


class Collection:
    def __init__(self, kind):
        self.kind = kind

    def __dask_graph__(self):
        raise self.kind("no graph")


def say(value):
    raise value.kind("cannot say")


def use(value):
    return value


@pytest.fixture(autouse=True)
def registration():
    register_identity(Registered, say)
    yield
    del registered()[Registered]


def elsewhere(function, *arguments):
    """As on the scheduler, which identifies in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def identify(value):
    return identify_graph({"bad": Task("bad", use, value), "good": Task("good", use, 1)}, None)


@pytest.mark.parametrize("kind", [*FATAL, Wordless])
@pytest.mark.parametrize("make", [PathOf, Reduced, Declared, Registered, Collection])
def test_what_code_of_a_class_raises_refuses_its_task_only(make, kind):
    found = elsewhere(identify, make(kind))
    assert kind.__name__ in str(found.refused["bad"])
    assert list(found.known) == ["good"]


@pytest.mark.parametrize("kind", [*FATAL, Wordless])
@pytest.mark.parametrize("make", [PathOf, Reduced])
def test_what_code_of_a_class_raises_refuses_its_value(make, kind):
    with pytest.raises(RefusedError, match=kind.__name__):
        elsewhere(Identifier().value, make(kind))


@pytest.mark.parametrize("make", [PathOf, Reduced, Declared])
def test_a_person_can_interrupt_the_main_thread(make):
    with pytest.raises(KeyboardInterrupt):
        identify(make(KeyboardInterrupt))


def test_the_main_thread_outlives_what_else_is_raised():
    assert "SystemExit" in str(identify(PathOf(SystemExit)).refused["bad"])
