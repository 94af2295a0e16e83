"""Names that an authority may certify, as its name constraints say (RFC 5280, 4.2.1.10).

For ``chains``, where ``cryptography`` judges none. Names of the forms that are identities of IKE
are judged: DNS, e-mail, addresses and distinguished names. A constraint of any other form is
refused. Where the RFC leaves room, less is permitted and more is excluded.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from plutino.model.identity import comparable_name

_JUDGED: Final = (x509.DNSName, x509.RFC822Name, x509.IPAddress, x509.DirectoryName)
MOST_COMPARISONS: Final = 1 << 14
"""Of a name with a constraint, in one chain."""


def check_names(chain: Sequence[x509.Certificate]) -> None:
    """Whether each authority of a chain, the leaf first, may certify the names below it.

    ValueError if not. The signatures must be right already: only authorities make work then.
    """
    left = MOST_COMPARISONS
    for place, authority in enumerate(chain):
        constraints = _constraints(authority)
        if constraints is None:
            continue
        permitted = constraints.permitted_subtrees or ()
        excluded = constraints.excluded_subtrees or ()
        _check_forms(authority, (*permitted, *excluded))
        for below in _constrained(chain[:place]):
            names = list(_names(below))
            left -= len(names) * (len(permitted) + len(excluded))
            if left < 0:
                raise ValueError(f"{_who(authority)} constrains more names than are judged")
            for name in names:
                if not _may_have(name, permitted, excluded):
                    words = f"{_who(authority)} may not certify {name.value!r:.200}"
                    raise ValueError(words)


def _who(one: x509.Certificate) -> str:
    return one.subject.rfc4514_string()


def _constraints(one: x509.Certificate) -> x509.NameConstraints | None:
    found = (extension.value for extension in one.extensions)
    return next((value for value in found if isinstance(value, x509.NameConstraints)), None)


def _check_forms(authority: x509.Certificate, subtrees: Iterable[x509.GeneralName]) -> None:
    for one in subtrees:
        if not isinstance(one, _JUDGED):
            form = type(one).__name__
            raise ValueError(f"{_who(authority)} constrains names of form {form}: not judged")


def _constrained(below: Sequence[x509.Certificate]) -> Iterator[x509.Certificate]:
    """Not an authority's own certificate for another key of its own (6.1.3)."""
    for place, one in enumerate(below):
        if place == 0 or one.subject != one.issuer:
            yield one


def _names(one: x509.Certificate) -> Iterator[x509.GeneralName]:
    """The subject, e-mail addresses in it, and all other names."""
    if list(one.subject):
        yield x509.DirectoryName(one.subject)
    for attribute in one.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        if not isinstance(attribute.value, str):
            raise ValueError(f"{_who(one)} has an e-mail address that is no text")
        yield x509.RFC822Name(attribute.value)
    for extension in one.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            yield from extension.value


def _may_have(
    name: x509.GeneralName,
    permitted: Iterable[x509.GeneralName],
    excluded: Iterable[x509.GeneralName],
) -> bool:
    kind = type(name)
    allowed = [one for one in permitted if isinstance(one, kind)]
    if allowed and not any(_is_within(name, one, strict=True) for one in allowed):
        return False
    return not any(_is_within(name, one, strict=False) for one in excluded if isinstance(one, kind))


def _is_within(name: x509.GeneralName, subtree: x509.GeneralName, *, strict: bool) -> bool:
    """Whether a name is in a subtree of its form; ``strict``: without any doubt."""
    if isinstance(name, x509.DNSName) and isinstance(subtree, x509.DNSName):
        return _is_below(name.value, subtree.value, strict=strict)
    if isinstance(name, x509.RFC822Name) and isinstance(subtree, x509.RFC822Name):
        return _is_mailbox_of(name.value, subtree.value, strict=strict)
    if isinstance(name, x509.IPAddress) and isinstance(subtree, x509.IPAddress):
        return _is_in_network(name.value, subtree.value, strict=strict)
    if isinstance(name, x509.DirectoryName) and isinstance(subtree, x509.DirectoryName):
        own, base = (list(_parts(one.value, strict=strict)) for one in (name, subtree))
        return own[: len(base)] == base
    return not strict


def _is_below(name: str, domain: str, *, strict: bool) -> bool:
    """A host or domain in a domain; one that begins with a dot has no name of its own.

    A name with a wildcard stands for many, of which one that is excluded is too many.
    """
    own, base = name.lower().rstrip("."), domain.lower().rstrip(".")
    if not strict and own.startswith("*") and f".{base.lstrip('.')}".endswith(own[1:]):
        return True
    if base.startswith(".") and strict:
        return own.endswith(base) and own != base
    base = base.lstrip(".")
    return not base or own == base or own.endswith(f".{base}")


def _is_mailbox_of(name: str, constraint: str, *, strict: bool) -> bool:
    """One mailbox, all of a host, or, with a dot before it, all of hosts in a domain."""
    local, at, host = name.rpartition("@")
    if not local or not at or not host or "@" in local:
        return not strict
    wanted, _, place = constraint.rpartition("@")
    host, place = host.lower().rstrip("."), place.lower().rstrip(".")
    if wanted:
        same = local == wanted if strict else local.lower() == wanted.lower()
        return same and host == place
    if place.startswith("."):
        return host.endswith(place) and host != place
    return not place or host == place


def _is_in_network(name: object, subtree: object, *, strict: bool) -> bool:
    if isinstance(name, IPv4Address) and isinstance(subtree, IPv4Network):
        return name in subtree
    if isinstance(name, IPv6Address) and isinstance(subtree, IPv6Network):
        return name in subtree
    is_address = isinstance(name, IPv4Address | IPv6Address)
    return not strict and not is_address  # what is no address is in every network


def _parts(name: x509.Name, *, strict: bool) -> Iterator[object]:
    """Relative distinguished names; ``strict``: as identities are compared (7.1)."""
    for one in name.rdns:
        alone = x509.Name([one])
        if strict:
            yield comparable_name(alone.public_bytes())
        else:
            yield " ".join(alone.rfc4514_string().lower().split())
