"""Replay state of an SA between the model and the two forms that ``linux/xfrm.h`` has.

The bitmap of ``xfrm_replay_state_esn`` is a ring: number n has bit ``(n - 1) mod window``
(``net/xfrm/xfrm_replay.c``), so that the kernel never shifts it. The model's bit n stands for
number ``seq - n``, as in the legacy ``xfrm_replay_state``.
"""

from typing import Final

from plutino.model.numbers import U32_MAX
from plutino.model.sa import ReplayState
from plutino.netlink.xfrm.attributes import ReplayEsn
from plutino.netlink.xfrm.constants import Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import ReplayEsnHeader, UserSaInfo
from plutino.netlink.xfrm.structures import ReplayState as LegacyReplayState

_WORD: Final = 32


def replay_attribute(state: ReplayState) -> ReplayEsn:
    """XFRMA_REPLAY_ESN_VAL, which serves SAs with and without ESN."""
    words = (state.window + _WORD - 1) // _WORD
    ring = [0] * words
    for age in range(state.window):
        if state.bitmap >> age & 1:
            position = _position(state.seq, age, state.window)
            ring[position // _WORD] |= 1 << position % _WORD
    header = ReplayEsnHeader(
        bmp_len=words,
        oseq=state.oseq & U32_MAX,
        seq=state.seq & U32_MAX,
        oseq_hi=state.oseq >> _WORD,
        seq_hi=state.seq >> _WORD,
        replay_window=state.window,
    )
    return ReplayEsn(header, tuple(ring))


def parse_replay(message: XfrmMessage, info: UserSaInfo) -> ReplayState:
    """From XFRMA_REPLAY_ESN_VAL if it is there, else from XFRMA_REPLAY_VAL, else all zero."""
    esn = message.find(Xfrma.REPLAY_ESN_VAL, ReplayEsn)
    if esn is not None:
        return _parse_ring(esn)
    legacy = message.find(Xfrma.REPLAY_VAL, LegacyReplayState)
    if legacy is not None:
        return ReplayState(legacy.oseq, legacy.seq, info.replay_window, legacy.bitmap)
    return ReplayState(window=info.replay_window)


def _parse_ring(value: ReplayEsn) -> ReplayState:
    header = value.header
    seq = header.seq_hi << _WORD | header.seq
    bitmap = 0
    # A window that its own bitmap cannot hold is cut to what is there.
    for age in range(min(header.replay_window, _WORD * len(value.bmp))):
        position = _position(seq, age, header.replay_window)
        word = position // _WORD
        if word < len(value.bmp) and value.bmp[word] >> position % _WORD & 1:
            bitmap |= 1 << age
    return ReplayState(
        oseq=header.oseq_hi << _WORD | header.oseq,
        seq=seq,
        window=header.replay_window,
        bitmap=bitmap,
    )


def _position(seq: int, age: int, window: int) -> int:
    """The bit of number ``seq - age``: the kernel counts in 32 bits, also with ESN."""
    return ((seq - 1 & U32_MAX) % window - age) % window
