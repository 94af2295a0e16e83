"""The native module: what its stub promises, what it refuses, and that others run beside it."""

import ast
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest

from plutino import _native
from plutino.ike.crypto.finite_field import FINITE_FIELDS

STUB = Path(__file__).parents[3] / "src" / "plutino" / "_native.pyi"
LARGEST = FINITE_FIELDS[-1]


def test_the_stub_is_the_module() -> None:
    functions = {
        node.name: [argument.arg for argument in node.args.posonlyargs]
        for node in ast.walk(ast.parse(STUB.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    found = {
        name: list(inspect.signature(value).parameters)
        for name, value in vars(_native).items()
        if not name.startswith("__")
    }
    assert found == functions


def test_it_is_the_only_one_and_fits_every_python() -> None:
    """One built for a certain Python would be found first, and grow old beside the other."""
    modules = [path.name for path in STUB.parent.glob("_native*.so")]
    assert modules == ["_native.abi3.so"]


@pytest.mark.parametrize(
    ("modulus", "base", "exponent", "words"),
    [
        (b"", b"", b"\1", "modulus"),
        (b"\xff" * 63, b"\2".rjust(63, b"\0"), b"\1", "modulus"),
        (b"\xff" * 1025, b"\2".rjust(1025, b"\0"), b"\1", "modulus"),
        (b"\xff" * 63 + b"\xfe", b"\2".rjust(64, b"\0"), b"\1", "modulus"),
        (LARGEST.prime, LARGEST.prime, b"\1", "value"),
        (LARGEST.prime, b"", b"\1", "value"),
        (LARGEST.prime, b"\2".rjust(1024, b"\0"), b"", "exponent"),
        (LARGEST.prime, b"\2".rjust(1024, b"\0"), bytes(1025), "exponent"),
    ],
)
def test_modp_power_refuses(modulus: bytes, base: bytes, exponent: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _native.modp_power(modulus, base, exponent)


def test_ml_kem_refuses() -> None:
    with pytest.raises(ValueError, match="512, 768 and 1024"):
        _native.mlkem_key(513, bytes(64))
    with pytest.raises(ValueError, match="seed"):
        _native.mlkem_key(512, bytes(32))
    with pytest.raises(ValueError, match="seed"):
        _native.mlkem_encapsulate(512, _native.mlkem_key(512, bytes(64)), bytes(31))
    with pytest.raises(ValueError, match="ciphertext"):
        _native.mlkem_decapsulate(512, bytes(64), bytes(767))


def test_aes_xcbc_refuses() -> None:
    with pytest.raises(ValueError, match="16 octets"):
        _native.aes_xcbc(bytes(24), b"")


def test_arguments_of_other_types_are_refused() -> None:
    with pytest.raises(TypeError):
        _native.aes_xcbc("key", b"")  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        _native.mlkem_key(-1, bytes(64))


def test_python_runs_beside_an_exponentiation() -> None:
    """With the lock held, the loop would stand still for about as long as the call takes."""
    base = b"\3".rjust(LARGEST.size, b"\0")
    shares = []
    for _ in range(5):
        call = Thread(target=_native.modp_power, args=(LARGEST.prime, base, LARGEST.prime))
        began = last = time.perf_counter()
        longest = 0.0
        call.start()
        while call.is_alive():
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        shares.append(longest / (time.perf_counter() - began))
    assert min(shares) < 0.5


def test_threads_do_not_disturb_one_another() -> None:
    group = FINITE_FIELDS[0]
    base = b"\3".rjust(group.size, b"\0")
    exponents = [number.to_bytes(32, "big") for number in range(1, 200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: _native.modp_power(group.prime, base, one), exponents))
    prime = int.from_bytes(group.prime, "big")
    assert [int.from_bytes(one, "big") for one in found] == [
        pow(3, number, prime) for number in range(1, 200)
    ]
