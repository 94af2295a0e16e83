//! MIGRATE: policies and SAs of one flow move to other addresses, and go on (RFC 4555; `xfrm_migrate`).

use std::net::IpAddr;
use std::sync::Arc;

use super::policy_encode::put_type;
use super::policy_parse::{invalid, parse_direction, parse_templates, verify_type, MOST_TEMPLATES};
use super::policy_requests::Request;
use super::state::{Answer, State, GROUP_MIGRATE};
use crate::netlink::wire::{put_attribute, Message, Refusal};
use crate::netlink::xfrm::{self as x, Fields};
use crate::policy::{Flow, Policy, Selector};
use crate::sa::{Encapsulation, Mode, Sa, SaConfig};
use crate::sad;
use crate::tables::TemplateKey;

const ENCAP_TEMPLATE: usize = 24;
/// `IPSEC_ULPROTO_ANY`.
const ULPROTO_ANY: u8 = 255;
const UDP_ENCAP_ESPINUDP: u16 = 2;

/// `struct xfrm_user_migrate`: one entry of XFRMA_MIGRATE.
struct Entry<'a> {
    octets: &'a [u8],
    protocol: u8,
    mode: u8,
    reqid: u32,
    old_family: u16,
    new_family: u16,
}

impl Entry<'_> {
    fn parse(octets: &[u8]) -> Option<Entry<'_>> {
        let fields = Fields(octets);
        Some(Entry {
            octets,
            protocol: fields.u8(64)?,
            mode: fields.u8(65)?,
            reqid: fields.u32(68)?,
            old_family: fields.u16(72)?,
            new_family: fields.u16(74)?,
        })
    }

    fn old_destination(&self) -> &[u8] {
        &self.octets[..16]
    }

    fn old_source(&self) -> &[u8] {
        &self.octets[16..32]
    }

    fn new_destination(&self) -> &[u8] {
        &self.octets[32..48]
    }

    fn new_source(&self) -> &[u8] {
        &self.octets[48..64]
    }

    /// One of the four addresses by its place, of the family that goes with it.
    fn address(&self, at: usize, family: u16) -> Option<IpAddr> {
        Fields(self.octets).address(at, family)
    }

    /// What makes two entries the same one.
    fn identity(&self) -> (&[u8], u8, u8, u32, u16) {
        let old = &self.octets[..32];
        (old, self.protocol, self.mode, self.reqid, self.old_family)
    }

    /// `copy_to_user_migrate()`: without what stands in the hole.
    fn encode(&self) -> [u8; x::MIGRATE_ENTRY] {
        let mut octets: [u8; x::MIGRATE_ENTRY] = self.octets.try_into().expect("76 octets");
        octets[66..68].fill(0);
        octets
    }
}

/// `xfrm_do_migrate()`.
pub fn migrate(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let list = request
        .attributes
        .get(x::XFRMA_MIGRATE)
        .ok_or(invalid("Missing required MIGRATE attribute"))?;
    verify_type(&request.attributes)?;
    let entries: Vec<Entry> = list
        .chunks_exact(x::MIGRATE_ENTRY)
        .filter_map(Entry::parse)
        .collect();
    verify(&entries)?;
    let id = &request.payload()[..x::POLICY_ID];
    let direction = parse_direction(Fields(id).u8(60))?;
    let if_id = request.attributes.get_u32(x::XFRMA_IF_ID).unwrap_or(0);
    let flow = flow_of(id)?;
    let policy = state
        .tables
        .policy(direction, if_id, &flow, 0)
        .cloned()
        .ok_or(Refusal::new(libc::ENOENT, "Target policy not found"))?;
    let encapsulation = request.attributes.get(x::XFRMA_ENCAP);

    // Everything is made before anything is put in force, so that a refusal changes nothing.
    let moved = move_sas(state, &entries, if_id, encapsulation)?;
    let changed = move_policy(&policy, &entries)?;
    for (old, new) in moved {
        state.sad.remove(&sad::key_of(&old.config));
        let new = state.sad.replace(new);
        state.replace_sa(&old, &new);
    }
    state.remove_policy(&policy);
    let changed = state.spd.change(changed);
    state.insert_policy(&changed);
    state.notify_of(GROUP_MIGRATE, &Message::NONE, || {
        (x::MIGRATE, encode(id, request, &entries))
    });
    Answer::done()
}

/// `copy_from_user_migrate()`, `xfrm_migrate_check()`.
fn verify(entries: &[Entry]) -> Result<(), Refusal> {
    if entries.is_empty() || entries.len() > MOST_TEMPLATES {
        return Err(invalid(
            "Invalid number of SAs to migrate, must be 0 < num <= XFRM_MAX_DEPTH (6)",
        ));
    }
    for (at, entry) in entries.iter().enumerate() {
        let is_null = |place| {
            let address = entry.address(place, entry.new_family);
            address.is_some_and(|address| address.is_unspecified())
        };
        if is_null(32) || is_null(48) {
            return Err(invalid(
                "Addresses in the MIGRATE attribute's list cannot be null",
            ));
        }
        let others = &entries[at + 1..];
        if others
            .iter()
            .any(|other| other.identity() == entry.identity())
        {
            return Err(invalid(
                "Entries in the MIGRATE attribute's list must be unique",
            ));
        }
    }
    Ok(())
}

/// The flow of which the policy is looked for (`xfrm_migrate_policy_find`): the selector's addresses
/// and, unless its protocol is any, link and ports, read as the kernel reads those of a packet.
fn flow_of(selector: &[u8]) -> Result<Flow, Refusal> {
    let not_found = || Refusal::new(libc::EAFNOSUPPORT, "Target policy not found");
    let Selector {
        source,
        destination,
        protocol,
        ifindex,
        ..
    } = x::parse_selector(selector, 0).ok_or_else(not_found)?;
    let [high, low] = [selector[32], selector[33]].map(u16::from);
    let destination_port = high << 8 | low;
    let source_port = u16::from_be_bytes([selector[36], selector[37]]);
    let (source_port, destination_port) = match i32::from(protocol) {
        libc::IPPROTO_TCP | libc::IPPROTO_UDP | libc::IPPROTO_UDPLITE | libc::IPPROTO_SCTP => {
            (source_port, destination_port)
        }
        // Type and code lie where the destination port does (`union flowi_uli`).
        libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6 => (high, low),
        libc::IPPROTO_MH => (high, 0),
        libc::IPPROTO_GRE => (destination_port, source_port),
        _ => (0, 0),
    };
    Ok(Flow {
        source,
        destination,
        protocol,
        source_port,
        destination_port,
        ifindex: if protocol == ULPROTO_ANY { 0 } else { ifindex },
    })
}

/// `xfrm_addr_equal()`.
fn same_address(one: &[u8], other: &[u8], family: u16) -> bool {
    let length = if family == x::AF_INET6 { 16 } else { 4 };
    one[..length] == other[..length]
}

/// `migrate_tmpl_match()`; a template of transport mode has no addresses.
fn fits(entry: &Entry, template: &[u8]) -> bool {
    let fields = Fields(template);
    let same = fields.u8(48) == Some(entry.mode)
        && fields.u8(20) == Some(entry.protocol)
        && (entry.reqid == 0 || fields.u32(44) == Some(entry.reqid));
    let family = entry.old_family;
    same && match Mode::try_from(entry.mode) {
        Ok(Mode::Tunnel | Mode::Beet) => {
            same_address(&template[..16], entry.old_destination(), family)
                && same_address(&template[28..44], entry.old_source(), family)
        }
        Ok(Mode::Transport) => true,
        Err(()) => false,
    }
}

/// The policy with the endpoints of its templates moved (`xfrm_policy_migrate`).
fn move_policy(policy: &Policy, entries: &[Entry]) -> Result<Policy, Refusal> {
    let mut told = policy.told.clone();
    let mut any = false;
    for template in told.templates.chunks_exact_mut(x::TEMPLATE) {
        for entry in entries {
            if !fits(entry, template) {
                continue;
            }
            any = true;
            if entry.mode != Mode::Transport as u8 {
                template[..16].copy_from_slice(entry.new_destination());
                template[28..44].copy_from_slice(entry.new_source());
                template[24..26].copy_from_slice(&entry.new_family.to_ne_bytes());
            }
        }
    }
    if !any {
        return Err(Refusal::from(libc::ENODATA));
    }
    Ok(Policy {
        templates: parse_templates(&told.templates)?,
        told,
        ..policy.clone()
    })
}

/// Pairs of an SA and what it becomes; none for an entry that no SA fits.
fn move_sas(
    state: &State,
    entries: &[Entry],
    if_id: u32,
    encapsulation: Option<&[u8]>,
) -> Result<Vec<(Arc<Sa>, Sa)>, Refusal> {
    let mut moved: Vec<(Arc<Sa>, Sa)> = Vec::new();
    for entry in entries {
        let Some(old) = find_sa(state, entry, if_id) else {
            continue;
        };
        if moved.iter().any(|(other, _)| Arc::ptr_eq(other, &old)) {
            continue;
        }
        let new = move_sa(&old, entry, encapsulation).ok_or(Refusal::from(libc::ENODATA))?;
        let key = sad::key_of(&new.config);
        let taken = moved
            .iter()
            .any(|(_, other)| sad::key_of(&other.config) == key)
            || (new.config.destination != old.config.destination && state.sad.get(&key).is_some());
        if taken {
            return Err(Refusal::from(libc::ENODATA));
        }
        moved.push((old, new));
    }
    Ok(moved)
}

/// `xfrm_migrate_state_find()`: by protocol, mode, old addresses, and reqid and if_id if there are.
fn find_sa(state: &State, entry: &Entry, if_id: u32) -> Option<Arc<Sa>> {
    let destination = entry.address(0, entry.old_family)?;
    let source = entry.address(16, entry.old_family)?;
    let mode = Mode::try_from(entry.mode).ok()?;
    let fits = |sa: &&Arc<Sa>| {
        let config = &sa.config;
        config.mode == mode
            && config.protocol == entry.protocol
            && (entry.reqid == 0 || config.reqid == entry.reqid)
            && (if_id == 0 || config.if_id == if_id)
            && config.destination == destination
            && config.source == source
    };
    if entry.reqid != 0 && if_id != 0 {
        let key = TemplateKey {
            destination,
            protocol: entry.protocol,
            mode: entry.mode,
            reqid: entry.reqid,
            if_id,
        };
        return state.tables.sas_of(&key).iter().find(fits).cloned();
    }
    state.sad.iter().filter(fits).last().cloned()
}

/// The SA at its new addresses (`xfrm_state_migrate`). Counters, sequence numbers and replay window
/// are not copied but the same ones, so that no number is used twice while workers still hold the
/// old SA. Encapsulation stays unless another is told; none can be taken away.
fn move_sa(old: &Sa, entry: &Entry, encapsulation: Option<&[u8]>) -> Option<Sa> {
    let config = &old.config;
    let destination = entry.address(32, entry.new_family)?;
    let source = entry.address(48, entry.new_family)?;
    if config.mode == Mode::Transport && destination.is_ipv4() != config.destination.is_ipv4() {
        return None;
    }
    let encapsulation = match encapsulation.map(Fields) {
        None => config.encapsulation,
        Some(fields) if fields.u16(0) == Some(UDP_ENCAP_ESPINUDP) => Encapsulation::Udp {
            source_port: fields.be16(2)?,
            destination_port: fields.be16(4)?,
        },
        Some(_) => return None,
    };
    Some(Sa {
        config: SaConfig {
            source,
            destination,
            encapsulation,
            ..config.clone()
        },
        transform: Arc::clone(&old.transform),
        state: Arc::clone(&old.state),
    })
}

/// `build_migrate()`.
fn encode(id: &[u8], request: &Request, entries: &[Entry]) -> Vec<u8> {
    let mut message = vec![0; x::POLICY_ID];
    message[..x::SELECTOR].copy_from_slice(&id[..x::SELECTOR]);
    message[60] = id[60];
    if let Some(told) = request.attributes.get(x::XFRMA_KMADDRESS) {
        let mut address = [0; x::KMADDRESS];
        address[..38].copy_from_slice(&told[..38]);
        put_attribute(&mut message, x::XFRMA_KMADDRESS, &address);
    }
    if let Some(told) = request.attributes.get(x::XFRMA_ENCAP) {
        put_attribute(&mut message, x::XFRMA_ENCAP, &told[..ENCAP_TEMPLATE]);
    }
    put_type(&mut message);
    for entry in entries {
        put_attribute(&mut message, x::XFRMA_MIGRATE, &entry.encode());
    }
    message
}
