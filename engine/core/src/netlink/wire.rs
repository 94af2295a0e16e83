//! Netlink framing (`linux/netlink.h`): messages, attributes, acknowledgements.

/// Octets of `struct nlmsghdr`.
pub const HEADER: usize = 16;

pub const NLMSG_NOOP: u16 = 1;
pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;

pub const NLM_F_REQUEST: u16 = 0x01;
pub const NLM_F_MULTI: u16 = 0x02;
pub const NLM_F_ACK: u16 = 0x04;
pub const NLM_F_DUMP: u16 = 0x300;
pub const NLM_F_CAPPED: u16 = 0x100;
pub const NLM_F_ACK_TLVS: u16 = 0x200;
pub const NLM_F_EXCL: u16 = 0x200;

const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
const NLMSGERR_ATTR_POLICY: u16 = 4;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// One request; the payload is without the header.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub port: u32,
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// What a message refers to that answers none.
    pub const NONE: Message<'static> = Message {
        kind: 0,
        flags: 0,
        sequence: 0,
        port: 0,
        payload: &[],
    };
}

/// A refusal: a positive errno and words.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub errno: i32,
    pub words: Option<String>,
    pub attribute: Option<BadAttribute>,
}

/// The attribute that a request was refused for: NLMSGERR_ATTR_OFFS and NLMSGERR_ATTR_POLICY.
#[derive(Debug, PartialEq, Eq)]
pub struct BadAttribute {
    /// From the start of the message.
    pub offset: u32,
    /// Attributes that say what it should have been; empty if nothing does.
    pub policy: Vec<u8>,
}

impl Refusal {
    pub fn new(errno: i32, words: &str) -> Refusal {
        Refusal {
            errno,
            words: Some(words.to_owned()),
            attribute: None,
        }
    }
}

/// Errno alone, where the kernel has no words either.
impl From<i32> for Refusal {
    fn from(errno: i32) -> Refusal {
        Refusal {
            errno,
            words: None,
            attribute: None,
        }
    }
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

/// The messages of a datagram; None where it is no netlink at all.
pub fn messages(mut octets: &[u8]) -> Option<Vec<Message<'_>>> {
    let mut messages = Vec::new();
    while !octets.is_empty() {
        let length = u32_at(octets, 0)? as usize;
        if length < HEADER || length > octets.len() {
            return None;
        }
        messages.push(Message {
            kind: u16_at(octets, 4)?,
            flags: u16_at(octets, 6)?,
            sequence: u32_at(octets, 8)?,
            port: u32_at(octets, 12)?,
            payload: &octets[HEADER..length],
        });
        octets = &octets[length.next_multiple_of(4).min(octets.len())..];
    }
    Some(messages)
}

/// Attributes by number and payload; None if a length does not fit.
pub fn attributes(mut octets: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut attributes = Vec::new();
    while octets.len() >= 4 {
        let length = usize::from(u16_at(octets, 0)?);
        if length < 4 || length > octets.len() {
            return None;
        }
        attributes.push((u16_at(octets, 2)? & NLA_TYPE_MASK, &octets[4..length]));
        octets = &octets[length.next_multiple_of(4).min(octets.len())..];
    }
    octets.is_empty().then_some(attributes)
}

/// Appends one attribute, padded.
pub fn put_attribute(target: &mut Vec<u8>, number: u16, payload: &[u8]) {
    target.extend(((4 + payload.len()) as u16).to_ne_bytes());
    target.extend(number.to_ne_bytes());
    target.extend(payload);
    target.resize(target.len().next_multiple_of(4), 0);
}

/// Appends one message, padded.
pub fn put_message(target: &mut Vec<u8>, kind: u16, flags: u16, to: &Message, payload: &[u8]) {
    target.extend(((HEADER + payload.len()) as u32).to_ne_bytes());
    target.extend(kind.to_ne_bytes());
    target.extend(flags.to_ne_bytes());
    target.extend(to.sequence.to_ne_bytes());
    target.extend(to.port.to_ne_bytes());
    target.extend(payload);
    target.resize(target.len().next_multiple_of(4), 0);
}

/// Appends the answer to a request: NLMSG_ERROR, capped, with words if there are any. `warning` are
/// words that stand where the refusal has none, even if nothing was refused.
pub fn put_acknowledgement(
    target: &mut Vec<u8>,
    to: &Message,
    result: &Result<(), Refusal>,
    warning: Option<&str>,
) {
    let refusal = result.as_ref().err();
    let errno = refusal.map_or(0, |refusal| refusal.errno);
    let words = refusal
        .and_then(|refusal| refusal.words.as_deref())
        .or(warning);
    let mut payload = Vec::with_capacity(64);
    payload.extend((-errno).to_ne_bytes());
    payload.extend(((HEADER + to.payload.len()) as u32).to_ne_bytes());
    payload.extend(to.kind.to_ne_bytes());
    payload.extend(to.flags.to_ne_bytes());
    payload.extend(to.sequence.to_ne_bytes());
    payload.extend(to.port.to_ne_bytes());
    let mut flags = NLM_F_CAPPED;
    if let Some(words) = words {
        flags |= NLM_F_ACK_TLVS;
        let mut text = words.as_bytes().to_vec();
        text.push(0);
        put_attribute(&mut payload, NLMSGERR_ATTR_MSG, &text);
    }
    if let Some(attribute) = refusal.and_then(|refusal| refusal.attribute.as_ref()) {
        flags |= NLM_F_ACK_TLVS;
        let offset = attribute.offset.to_ne_bytes();
        put_attribute(&mut payload, NLMSGERR_ATTR_OFFS, &offset);
        if !attribute.policy.is_empty() {
            let number = NLMSGERR_ATTR_POLICY | NLA_F_NESTED;
            put_attribute(&mut payload, number, &attribute.policy);
        }
    }
    put_message(target, NLMSG_ERROR, flags, to, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let to = Message {
            kind: 0x10,
            flags: 5,
            sequence: 7,
            port: 9,
            payload: b"abcde",
        };
        let mut octets = Vec::new();
        put_message(&mut octets, 0x11, 2, &to, b"xyz");
        put_acknowledgement(&mut octets, &to, &Err(Refusal::new(22, "no")), None);
        let read = messages(&octets).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read[0].kind, read[0].sequence, read[0].payload),
            (0x11, 7, b"xyz".as_slice())
        );
        assert_eq!(read[1].kind, NLMSG_ERROR);
        assert_eq!(read[1].payload[..4], (-22i32).to_ne_bytes());
        assert_eq!(read[1].payload[4..8], 21u32.to_ne_bytes());
        assert_eq!(
            attributes(&read[1].payload[20..]).unwrap(),
            vec![(1, b"no\0".as_slice())]
        );
    }

    #[test]
    fn no_octets_make_it_panic() {
        let mut octets = Vec::new();
        for (number, length) in [(1, 5), (2, 0), (3, 9)] {
            put_attribute(&mut octets, number, &vec![7; length]);
        }
        for end in 0..octets.len() {
            let _ = attributes(&octets[..end]);
            let _ = messages(&octets[..end]);
        }
        let mut state = 3u64;
        for _ in 0..20_000 {
            let random: Vec<u8> = (0..40)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                    (state >> 60) as u8
                })
                .collect();
            let _ = attributes(&random);
            let _ = messages(&random);
        }
    }
}
