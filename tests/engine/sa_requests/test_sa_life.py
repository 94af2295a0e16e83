"""How SAs come, move and go, and who is told, as ``net/xfrm/xfrm_state.c`` has it."""

import errno
from dataclasses import replace

from plutino.netlink.xfrm.attributes import AeadAlgorithm
from plutino.netlink.xfrm.constants import Group, MessageType, Xfrma
from plutino.netlink.xfrm.structures import (
    UNLIMITED,
    EncapTemplate,
    LifetimeCurrent,
    UserExpire,
    UserSaFlush,
    UserSaInfo,
    UserSpiInfo,
    XfrmId,
    XfrmMark,
    XfrmSelector,
)
from plutino.netlink.xfrm.structures_policy import (
    UserAcquire,
    UserMigrateState,
    UserPolicyInfo,
    UserTemplate,
)
from tests.support.sa_requests import (
    AEAD,
    ELSEWHERE,
    ENCAP,
    ID,
    IN,
    INFO,
    LOCAL,
    ONE,
    OUT,
    REMOTE,
    Engine,
    esn,
    heard,
)


def test_names_that_are_taken_or_not_there(engine: Engine) -> None:
    assert engine.refused(MessageType.UPDSA, INFO, ONE) == (errno.ESRCH, None)
    engine.add()
    assert engine.refused(MessageType.NEWSA, INFO, ONE) == (errno.EEXIST, None)
    # Under the mask of the SA that is there, any mark is its own.
    marked = (*ONE, (Xfrma.MARK, XfrmMark(1, 1)))
    assert engine.refused(MessageType.NEWSA, INFO, marked) == (errno.EEXIST, None)
    engine.ask(MessageType.DELSA, ID)
    for kind in (MessageType.DELSA, MessageType.GETSA):
        assert engine.refused(kind, ID) == (errno.ESRCH, None)
        assert engine.refused(kind, replace(ID, proto=43)) == (errno.EINVAL, None)
        words = "Invalid attribute SA_DIR"
        assert engine.refused(kind, ID, OUT) == (errno.EINVAL, words)


def test_spis_are_allocated_and_kept_for_their_sa(engine: Engine) -> None:
    kind = MessageType.ALLOCSPI
    asked = UserSpiInfo(replace(INFO, flags=0, id=XfrmId(REMOTE, 0, 50), seq=5), 0x1000, 0x1000)
    (reply,) = engine.ask(kind, asked, IN)
    assert isinstance(reply.fixed, UserSaInfo)
    assert (reply.fixed.id.spi, reply.fixed.lft.hard_add_expires_seconds) == (0x1000, 30)
    assert reply.find(Xfrma.ALG_AEAD, AeadAlgorithm) is None
    assert engine.get().fixed == reply.fixed
    assert engine.refused(MessageType.NEWSA, INFO, ONE) == (errno.EEXIST, None)
    elsewhere = replace(asked, info=replace(asked.info, id=XfrmId(ELSEWHERE, 0, 50)))
    words = "No SPI available in the requested range"
    assert engine.refused(kind, elsewhere) == (errno.ENOENT, words)
    assert engine.refused(MessageType.UPDSA, INFO, ONE + OUT) == (errno.ESRCH, None)
    engine.ask(MessageType.UPDSA, INFO, ONE + IN)
    assert engine.get().find(Xfrma.ALG_AEAD, AeadAlgorithm) == AEAD
    for changes, words in (
        ({"min": 9, "max": 8}, "Invalid SPI range: min > max"),
        (
            {"info": replace(INFO, id=XfrmId(REMOTE, 0, 17))},
            "Invalid protocol, must be one of AH, ESP, IPCOMP",
        ),
        (
            {"info": replace(INFO, id=XfrmId(REMOTE, 0, 108)), "max": 0x10000},
            "IPCOMP SPI must be <= 65535",
        ),
    ):
        assert engine.refused(kind, replace(asked, **changes)) == (errno.EINVAL, words)


def test_an_sa_takes_the_place_of_the_larval_one_like_it(engine: Engine) -> None:
    template = UserSpiInfo(replace(INFO, flags=0, id=XfrmId(REMOTE, 0, 50)), 9, 5)
    # Refused before anything is made.
    assert engine.refused(MessageType.ALLOCSPI, template)[0] == errno.EINVAL
    assert engine.dump() == ()
    engine.ask(MessageType.ALLOCSPI, replace(template, min=7, max=7))
    engine.ask(MessageType.ALLOCSPI, replace(template, min=8, max=8))
    assert len(engine.dump()) == 2
    unlucky = replace(template, min=7, max=8)
    assert engine.refused(MessageType.ALLOCSPI, unlucky)[0] == errno.ENOENT
    assert len(engine.dump()) == 3, "the larval SA without SPI stays"
    engine.add()
    assert sorted(one.fixed.id.spi for one in engine.dump()) == [7, 8, 0x1000]  # type: ignore[union-attr]


def test_notifications_are_the_kernels(engine: Engine) -> None:
    with engine.listen(Group.SA, Group.EXPIRE, Group.AEVENTS, Group.MIGRATE) as listener:
        engine.add()
        told = heard(listener)
        assert told.kind is MessageType.NEWSA
        assert told.find(Xfrma.ALG_AEAD, AeadAlgorithm) == AEAD
        engine.ask(MessageType.UPDSA, INFO, ONE)
        assert heard(listener).kind is MessageType.UPDSA
        engine.ask(MessageType.EXPIRE, UserExpire(INFO, 0))
        expired = heard(listener)
        assert isinstance(expired.fixed, UserExpire)
        assert (expired.fixed.hard, expired.fixed.state.id) == (0, INFO.id)
        engine.ask(MessageType.DELSA, ID)
        gone = heard(listener)
        assert (gone.kind, gone.fixed) == (MessageType.DELSA, ID)
        assert gone.find(Xfrma.SA, UserSaInfo) is not None
        engine.ask(MessageType.FLUSHSA, UserSaFlush(0))
        engine.add()
        assert heard(listener).kind is MessageType.NEWSA, "of nothing flushed nobody is told"
        engine.ask(MessageType.FLUSHSA, UserSaFlush(50))
        assert heard(listener).fixed == UserSaFlush(50)
        engine.add()
        heard(listener)
        engine.ask(MessageType.EXPIRE, UserExpire(INFO, 1))
        hard = heard(listener)
        assert isinstance(hard.fixed, UserExpire)
        assert hard.fixed.hard == 1
        assert listener.receive(0) == (), "a hard limit is told once, to listeners of EXPIRE"
        assert engine.refused(MessageType.EXPIRE, UserExpire(INFO, 1)) == (errno.ENOENT, None)


def test_limits_that_have_passed_end_an_sa_at_once(engine: Engine) -> None:
    with engine.listen(Group.EXPIRE) as listener:
        limits = replace(UNLIMITED, soft_add_expires_seconds=10, hard_add_expires_seconds=20)
        old = (*ONE, (Xfrma.LTIME_VAL, LifetimeCurrent(0, 0, 1, 0)))
        engine.add(replace(INFO, lft=replace(limits, hard_add_expires_seconds=0)), old)
        soft = heard(listener)
        engine.ask(MessageType.UPDSA, replace(INFO, lft=limits), ONE)
        hard = heard(listener)
        assert isinstance(soft.fixed, UserExpire)
        assert isinstance(hard.fixed, UserExpire)
        assert (soft.fixed.hard, hard.fixed.hard) == (0, 1)
    assert engine.dump() == ()


def test_one_sa_is_migrated_with_its_key_and_numbers(engine: Engine) -> None:
    kind = MessageType.MIGRATE_STATE
    replay = (Xfrma.REPLAY_ESN_VAL, esn(0, 0, oseq=41))
    engine.add(attributes=(*ONE, *OUT, (Xfrma.ENCAP, ENCAP), (Xfrma.SET_MARK, 6), replay))
    move = UserMigrateState(ID, ELSEWHERE, LOCAL, new_reqid=70, new_family=2)
    with engine.listen(Group.MIGRATE) as listener:
        engine.ask(kind, move)
        told = heard(listener)
    assert (told.kind, told.fixed) == (kind, move)
    assert engine.refused(MessageType.GETSA, ID) == (errno.ESRCH, None)
    moved = replace(ID, daddr=ELSEWHERE)
    after = engine.get(moved)
    assert isinstance(after.fixed, UserSaInfo)
    assert (after.fixed.reqid, after.fixed.saddr) == (70, LOCAL)
    kept = {one.number: one.value for one in after.attributes}
    assert (kept[Xfrma.ALG_AEAD], kept[Xfrma.ENCAP], kept[Xfrma.SET_MARK]) == (AEAD, ENCAP, 6)
    assert kept[Xfrma.REPLAY_ESN_VAL] == replay[1]
    engine.ask(kind, replace(move, id=moved), ((Xfrma.ENCAP, replace(ENCAP, encap_type=0)),))
    assert engine.get(moved).find(Xfrma.ENCAP, EncapTemplate) is None
    engine.add()
    back = replace(move, id=moved, new_daddr=REMOTE)
    for message, attributes, refusal in (
        (back, (), (errno.EEXIST, "New SA tuple already occupied")),
        (replace(back, id=replace(ID, spi=0)), (), (errno.EINVAL, "Invalid SPI 0x0")),
        (replace(back, id=replace(ID, spi=9)), (), (errno.ESRCH, "Can not find state")),
        (replace(back, flags=4), (), (errno.EINVAL, "Unknown flags: 0x4")),
        (replace(back, new_family=0), (), (errno.EINVAL, "Invalid address family")),
        (
            replace(back, flags=2),
            (),
            (errno.EINVAL, "SA selector is not a single-host match for SA addresses"),
        ),
        (
            replace(back, new_daddr=ELSEWHERE),
            ((Xfrma.NAT_KEEPALIVE_INTERVAL, 3),),
            (errno.EINVAL, "NAT_KEEPALIVE_INTERVAL requires encapsulation"),
        ),
        (
            replace(back, new_daddr=ELSEWHERE),
            ((Xfrma.ENCAP, replace(ENCAP, encap_type=9)),),
            (errno.EINVAL, "Unsupported encapsulation type"),
        ),
        (
            replace(back, new_daddr=ELSEWHERE),
            ((Xfrma.MARK, XfrmMark(1, 1)), (Xfrma.IF_ID, 1)),
            (errno.EINVAL, "Unsupported attribute in XFRM_MSG_MIGRATE_STATE"),
        ),
        (
            replace(back, new_daddr=ELSEWHERE),
            ((Xfrma.MTIMER_THRESH, 3),),
            (errno.EINVAL, "MTIMER_THRESH requires encapsulation"),
        ),
    ):
        assert engine.refused(kind, message, attributes) == refusal


def test_an_acquire_that_is_asked_for_reaches_listeners(engine: Engine) -> None:
    template = UserTemplate(id=XfrmId(REMOTE, 0, 50), family=2, saddr=LOCAL, reqid=7, mode=1)
    policy = UserPolicyInfo(sel=XfrmSelector(family=2), dir=1, lft=UNLIMITED)
    asked = UserAcquire(INFO.id, LOCAL, XfrmSelector(family=2), policy, 1, 2, 3, 0)
    with engine.listen(Group.ACQUIRE) as listener:
        engine.ask(MessageType.ACQUIRE, asked, ((Xfrma.TMPL, (template,)), (Xfrma.IF_ID, 4)))
        told = heard(listener)
    assert isinstance(told.fixed, UserAcquire)
    assert told.fixed.id == template.id
    assert (told.fixed.aalgos, told.fixed.ealgos, told.fixed.calgos) == (1, 2, 3)
    assert told.fixed.seq != 0
    assert told.find(Xfrma.IF_ID, int) == 4
    assert engine.dump() == ()


def test_protocols_of_flushes(engine: Engine) -> None:
    engine.add()
    engine.ask(MessageType.FLUSHSA, UserSaFlush(51))
    assert len(engine.dump()) == 1
    engine.ask(MessageType.FLUSHSA, UserSaFlush(255))
    assert engine.dump() == ()
