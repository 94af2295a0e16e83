"""A network namespace of its own for a test; the machine's is left as it is."""

from collections.abc import Iterator
from contextlib import contextmanager

from plutino.lab.namespaces import NetworkNamespace


@contextmanager
def fresh_namespace() -> Iterator[None]:
    """Run the block in a new network namespace, which vanishes at the end. Needs root."""
    with NetworkNamespace.create() as namespace, namespace.entered():
        yield
