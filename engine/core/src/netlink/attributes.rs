//! Attributes of a request as the kernel reads them (`nlmsg_parse_deprecated` with `xfrma_policy`):
//! liberal with what it does not know, exact in errno, words, offset and policy of what it refuses.

use super::wire::{put_attribute, BadAttribute, Refusal, HEADER};
use super::xfrm as x;

const NLA_HEADER: usize = 4;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
/// `XFRMA_MAX`: the last number that Linux 6.18 knows.
const XFRMA_MAX: usize = 41;
/// Attributes from here on are validated strictly (`strict_start_type`).
const STRICT: u16 = x::XFRMA_SA_DIR;
/// NLMSGERR_ATTR_POLICY is nested, with these inside (`NL_POLICY_TYPE_ATTR_*`).
const POLICY_TYPE: u16 = 1;
const POLICY_MIN_VALUE: u16 = 4;
const POLICY_MAX_VALUE: u16 = 5;

const LEFTOVER: &str = "bytes leftover after parsing attributes";

/// What an attribute has to be (`struct nla_policy`).
#[derive(Clone, Copy)]
enum Rule {
    /// NLA_UNSPEC: so many octets at least.
    Least(usize),
    /// NLA_U8 to NLA_U64, by number of octets.
    Number(usize),
    /// NLA_U8 with a lowest and a highest value.
    Range(u8, u8),
    /// NLA_FLAG.
    Flag,
}

/// `xfrma_policy`.
fn xfrm_rule(number: u16) -> Rule {
    match number {
        1..=3 => Rule::Least(68),          // struct xfrm_algo
        x::XFRMA_ENCAP => Rule::Least(24), // struct xfrm_encap_tmpl
        x::XFRMA_TMPL => Rule::Least(64),  // struct xfrm_user_tmpl
        6 => Rule::Least(x::SA_INFO),      // XFRMA_SA
        x::XFRMA_POLICY => Rule::Least(x::POLICY_INFO),
        x::XFRMA_SEC_CTX => Rule::Least(8), // struct xfrm_user_sec_ctx
        9 => Rule::Least(32),               // XFRMA_LTIME_VAL
        10 => Rule::Least(12),              // XFRMA_REPLAY_VAL
        11 | 12 => Rule::Number(4),         // thresholds of NEWAE
        13 | 14 => Rule::Least(16),         // XFRMA_SRCADDR, XFRMA_COADDR
        x::XFRMA_LASTUSED => Rule::Number(8),
        x::XFRMA_POLICY_TYPE => Rule::Least(6),
        x::XFRMA_MIGRATE => Rule::Least(x::MIGRATE_ENTRY),
        x::XFRMA_ALG_AEAD => Rule::Least(72),
        x::XFRMA_KMADDRESS => Rule::Least(x::KMADDRESS),
        x::XFRMA_ALG_AUTH_TRUNC => Rule::Least(72),
        x::XFRMA_MARK => Rule::Least(8),
        x::XFRMA_TFCPAD => Rule::Number(4),
        x::XFRMA_REPLAY_ESN_VAL => Rule::Least(x::REPLAY_HEADER),
        24 => Rule::Number(4), // XFRMA_SA_EXTRA_FLAGS
        25 => Rule::Number(1), // XFRMA_PROTO
        26 => Rule::Least(36), // XFRMA_ADDRESS_FILTER
        x::XFRMA_OFFLOAD_DEV => Rule::Least(8),
        29..=32 => Rule::Number(4), // marks, if_id, XFRMA_MTIMER_THRESH
        x::XFRMA_SA_DIR => Rule::Range(1, 2),
        34..=36 => Rule::Number(4), // keepalive, XFRMA_SA_PCPU, XFRMA_IPTFS_DROP_TIME
        37 => Rule::Number(2),      // XFRMA_IPTFS_REORDER_WINDOW
        38 => Rule::Flag,           // XFRMA_IPTFS_DONT_FRAG
        39..=41 => Rule::Number(4), // XFRMA_IPTFS_INIT_DELAY to XFRMA_IPTFS_PKT_SIZE
        _ => Rule::Least(0),
    }
}

/// `xfrma_spd_policy`.
fn spd_rule(number: u16) -> Rule {
    match number {
        x::XFRMA_SPD_IPV4_HTHRESH | x::XFRMA_SPD_IPV6_HTHRESH => Rule::Least(2),
        _ => Rule::Least(0),
    }
}

/// The attributes of one request, each at most once: of several the last counts.
pub struct Attributes<'a> {
    /// With the offset in the message at which each stands.
    found: [Option<(usize, &'a [u8])>; XFRMA_MAX + 1],
    /// What the acknowledgement says although nothing was refused.
    pub warning: Option<&'static str>,
}

impl<'a> Attributes<'a> {
    /// Those of a message of `linux/xfrm.h` after its fixed structure.
    pub fn parse(payload: &'a [u8], fixed: usize) -> Result<Attributes<'a>, Refusal> {
        parse(payload, fixed, XFRMA_MAX, xfrm_rule)
    }

    /// Those of NEWSPDINFO, which have numbers of their own.
    pub fn parse_spd(payload: &'a [u8], fixed: usize) -> Result<Attributes<'a>, Refusal> {
        let last = x::XFRMA_SPD_IPV6_HTHRESH;
        parse(payload, fixed, usize::from(last), spd_rule)
    }

    pub fn get(&self, number: u16) -> Option<&'a [u8]> {
        let (_, content) = (*self.found.get(usize::from(number))?)?;
        Some(content)
    }

    /// Refuses, at its place, the first by number that is none of those.
    pub fn only(&self, allowed: &[u16], words: &str) -> Result<(), Refusal> {
        let others = (0..)
            .zip(&self.found)
            .filter(|(number, _)| !allowed.contains(number));
        match others.filter_map(|(_, found)| *found).next() {
            None => Ok(()),
            Some((at, _)) => Err(refuse(libc::EINVAL, words, at, Rule::Least(0))),
        }
    }

    /// A number that stands there, of the length that was checked.
    pub fn get_u32(&self, number: u16) -> Option<u32> {
        x::Fields(self.get(number)?).u32(0)
    }
}

fn parse(
    payload: &[u8],
    fixed: usize,
    last: usize,
    rule: fn(u16) -> Rule,
) -> Result<Attributes<'_>, Refusal> {
    if payload.len() < fixed {
        return Err(Refusal::new(libc::EINVAL, "Invalid header length"));
    }
    let mut attributes = Attributes {
        found: [None; XFRMA_MAX + 1],
        warning: None,
    };
    let mut at = fixed.next_multiple_of(4);
    while let Some(rest) = payload.get(at..).filter(|rest| rest.len() >= NLA_HEADER) {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        if length < NLA_HEADER || length > rest.len() {
            break;
        }
        let kind = u16::from_ne_bytes([rest[2], rest[3]]);
        let number = kind & NLA_TYPE_MASK;
        let content = &rest[NLA_HEADER..length];
        if number != 0 && usize::from(number) <= last {
            let rule = rule(number);
            let strict = last == XFRMA_MAX && number >= STRICT;
            check(rule, content, strict, kind & NLA_F_NESTED != 0)
                .map_err(|(errno, words)| refuse(errno, words, HEADER + at, rule))?;
            attributes.found[usize::from(number)] = Some((HEADER + at, content));
        }
        at += length.next_multiple_of(4);
    }
    if at < payload.len() {
        attributes.warning = Some(LEFTOVER);
    }
    Ok(attributes)
}

/// `validate_nla()`.
fn check(
    rule: Rule,
    content: &[u8],
    strict: bool,
    nested: bool,
) -> Result<(), (i32, &'static str)> {
    let failed = Err((libc::ERANGE, "Attribute failed policy validation"));
    let size = match rule {
        Rule::Number(size) => size,
        Rule::Range(..) => 1,
        Rule::Least(size) => size,
        Rule::Flag => 0,
    };
    if strict {
        if matches!(rule, Rule::Number(_) | Rule::Range(..)) && content.len() != size {
            return Err((libc::EINVAL, "invalid attribute length"));
        }
        if nested {
            return Err((libc::EINVAL, "NLA_F_NESTED not expected"));
        }
    }
    if content.len() < size || (matches!(rule, Rule::Flag) && !content.is_empty()) {
        return failed;
    }
    match rule {
        Rule::Range(low, high) if !(low..=high).contains(&content[0]) => {
            Err((libc::ERANGE, "integer out of range"))
        }
        _ => Ok(()),
    }
}

/// Words, and with them where the attribute stands and what it should have been.
fn refuse(errno: i32, words: &str, offset: usize, rule: Rule) -> Refusal {
    let mut policy = Vec::new();
    // NLA_U8 to NLA_U64 are 2 to 5, NLA_FLAG is 6 but told as 1 (NL_ATTR_TYPE_*).
    let number = |size: usize| size.trailing_zeros() + 2;
    let (kind, range) = match rule {
        Rule::Least(_) => (0, None),
        Rule::Flag => (1, None),
        Rule::Range(low, high) => (number(1), Some((u64::from(low), u64::from(high)))),
        Rule::Number(size) => (number(size), Some((0, u64::MAX >> (64 - 8 * size)))),
    };
    if let Some((low, high)) = range {
        put_attribute(&mut policy, POLICY_MIN_VALUE, &low.to_ne_bytes());
        put_attribute(&mut policy, POLICY_MAX_VALUE, &high.to_ne_bytes());
    }
    if kind != 0 {
        put_attribute(&mut policy, POLICY_TYPE, &kind.to_ne_bytes());
    }
    let attribute = BadAttribute {
        offset: offset as u32,
        policy,
    };
    Refusal {
        attribute: Some(attribute),
        ..Refusal::new(errno, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_refused_at_its_place() {
        let mut payload = vec![0; 4];
        put_attribute(&mut payload, x::XFRMA_MARK, &[0; 8]);
        put_attribute(&mut payload, x::XFRMA_IF_ID, &[0; 4]);
        let parsed = Attributes::parse(&payload, 4).unwrap();
        assert!(parsed.only(&[x::XFRMA_MARK, x::XFRMA_IF_ID], "no").is_ok());
        let refusal = parsed.only(&[x::XFRMA_MARK], "no").unwrap_err();
        assert_eq!(
            (refusal.errno, refusal.words.as_deref()),
            (libc::EINVAL, Some("no"))
        );
        let attribute = refusal.attribute.unwrap();
        assert_eq!((attribute.offset, attribute.policy.len()), (16 + 4 + 12, 0));
    }

    fn read(attribute: (u16, &[u8])) -> Result<Option<Vec<u8>>, (i32, String)> {
        let mut payload = vec![0; 4];
        put_attribute(&mut payload, attribute.0, attribute.1);
        let parsed = Attributes::parse(&payload, 4)
            .map_err(|refusal| (refusal.errno, refusal.words.unwrap_or_default()))?;
        Ok(parsed.get(attribute.0).map(<[u8]>::to_vec))
    }

    #[test]
    fn rules_of_old_attributes_are_lower_bounds() {
        let failed = (
            libc::ERANGE,
            "Attribute failed policy validation".to_owned(),
        );
        assert_eq!(read((x::XFRMA_IF_ID, &[1, 2])), Err(failed.clone()));
        assert_eq!(read((x::XFRMA_IF_ID, &[7; 9])), Ok(Some(vec![7; 9])));
        assert_eq!(read((x::XFRMA_MARK, &[7; 7])), Err(failed));
        assert_eq!(
            read((x::XFRMA_MARK | NLA_F_NESTED, &[7; 8])),
            Ok(None),
            "found by its number without flags"
        );
    }

    #[test]
    fn rules_of_new_attributes_are_exact() {
        let wrong = |words: &str| Err((libc::EINVAL, words.to_owned()));
        assert_eq!(
            read((x::XFRMA_SA_DIR, &[1, 0])),
            wrong("invalid attribute length")
        );
        assert_eq!(
            read((x::XFRMA_SA_DIR | NLA_F_NESTED, &[1])),
            wrong("NLA_F_NESTED not expected")
        );
        assert_eq!(
            read((x::XFRMA_SA_DIR, &[3])),
            Err((libc::ERANGE, "integer out of range".to_owned()))
        );
        assert_eq!(read((42, &[])), Ok(None), "unknown ones are passed over");
    }

    #[test]
    fn what_is_no_attribute_is_only_warned_of() {
        let mut payload = vec![0; 4];
        put_attribute(&mut payload, x::XFRMA_IF_ID, &[1, 0, 0, 0]);
        payload.extend([0, 0, 0, 0]);
        let parsed = Attributes::parse(&payload, 4).unwrap();
        assert_eq!(parsed.get_u32(x::XFRMA_IF_ID), Some(1));
        assert_eq!(parsed.warning, Some(LEFTOVER));
        let short = Attributes::parse(&payload[..3], 4).err().unwrap();
        assert_eq!(short.words.as_deref(), Some("Invalid header length"));
    }
}
