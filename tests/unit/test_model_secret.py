"""Key material does not get out by accident."""

import pickle
import traceback

import pytest

from plutino.model.algorithms import AeadKey
from plutino.model.errors import ConfigError, KernelError, Problem
from plutino.model.secret import Secret

KEY = bytes.fromhex("00112233445566778899aabbccddeeff")


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda s: f"{s!r:>40}"])
def test_no_way_of_printing_shows_the_octets(show) -> None:  # type: ignore[no-untyped-def]
    text = show(AeadKey("rfc4106(gcm(aes))", Secret(KEY), 128))
    assert "secret 16 B" in text
    assert KEY.hex() not in text
    assert repr(KEY) not in text


def test_a_traceback_with_the_secret_in_a_message_does_not_show_it() -> None:
    try:
        raise ValueError(Secret(KEY))
    except ValueError:
        assert KEY.hex() not in traceback.format_exc()


def test_secrets_compare_and_are_not_pickled() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert Secret(KEY) != Secret(bytes(16))
    assert Secret(KEY) != KEY
    with pytest.raises(TypeError):
        pickle.dumps(Secret(KEY))


def test_errors_speak_in_the_kernels_words() -> None:
    error = KernelError("add SA 0x00001000", 22, "Requested AEAD algorithm not found")
    assert str(error) == "add SA 0x00001000: Requested AEAD algorithm not found (EINVAL)"
    assert str(KernelError("add link", 17)) == "add link: File exists (EEXIST)"


def test_a_configuration_error_shows_all_problems_with_place_and_hint() -> None:
    error = ConfigError(
        [Problem("a.toml", 3, "tunnels.x", "bad", "try y"), Problem("a.toml", None, "", "empty")]
    )
    assert str(error) == "a.toml:3: tunnels.x: bad\n  hint: try y\na.toml: empty"
