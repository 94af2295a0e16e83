//! The engine's own requests: devices, sockets, counters (docs/engine-protocol.md).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::Arc;

use super::sa_requests::find;
use super::state::{Answer, Effect, Reply, State};
use crate::device::Device;
use crate::drop_ring::Dropped;
use crate::netlink::engine as e;
use crate::netlink::wire::{attributes, put_attribute, Refusal};
use crate::netlink::xfrm::Fields;
use crate::stats::{DropReason, LinkStats};
use crate::sys;
use crate::tables::EXTERNAL;
use crate::underlay::SocketKind;

const IFNAMSIZ: usize = 16;

pub(super) fn invalid(words: &str) -> Refusal {
    Refusal::new(libc::EINVAL, words)
}

pub(super) fn parse(payload: &[u8]) -> Result<Vec<(u16, &[u8])>, Refusal> {
    attributes(payload).ok_or(invalid("Attribute length does not fit"))
}

fn name(attributes: &[(u16, &[u8])]) -> Result<String, Refusal> {
    let octets = find(attributes, e::IFNAME).ok_or(invalid("IFNAME is missing"))?;
    let octets = octets.strip_suffix(&[0]).unwrap_or(octets);
    let name = std::str::from_utf8(octets).map_err(|_| invalid("IFNAME is no text"))?;
    if name.is_empty() || name.len() >= IFNAMSIZ || name.contains('\0') {
        return Err(invalid("IFNAME must have 1 to 15 octets"));
    }
    Ok(name.to_owned())
}

pub(super) fn number(attributes: &[(u16, &[u8])], which: u16, words: &str) -> Result<u32, Refusal> {
    find(attributes, which)
        .and_then(|payload| Fields(payload).u32(0))
        .ok_or_else(|| invalid(words))
}

fn text(target: &mut Vec<u8>, number: u16, words: &str) {
    put_attribute(target, number, &[words.as_bytes(), &[0]].concat());
}

/// The descriptors of one message: QUEUES of those that came with the datagram, or all.
fn take_queues(
    attributes: &[(u16, &[u8])],
    descriptors: &mut VecDeque<OwnedFd>,
) -> Result<Vec<OwnedFd>, Refusal> {
    let count = match find(attributes, e::QUEUES) {
        None => descriptors.len(),
        Some(_) => number(attributes, e::QUEUES, "QUEUES has not 4 octets")? as usize,
    };
    if count > descriptors.len() {
        return Err(invalid("A descriptor is missing"));
    }
    Ok(descriptors.drain(..count).collect())
}

/// NEWDEV: a device with its descriptors, or another if_id or MTU for one that is there.
pub fn add(
    state: &mut State,
    payload: &[u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> Result<Answer, Refusal> {
    let attributes = parse(payload)?;
    let name = name(&attributes)?;
    let if_id = number(&attributes, e::IF_ID, "IF_ID is missing")?;
    let ifindex = number(&attributes, e::IFINDEX, "IFINDEX is missing")?;
    let mtu = number(&attributes, e::MTU, "MTU is missing")?;
    match (if_id, find(&attributes, e::EXTERNAL)) {
        (EXTERNAL, None) => return Err(invalid("if_id must be non zero")),
        (EXTERNAL, Some(_)) | (_, None) => {}
        (_, Some(_)) => return Err(invalid("if_id must be zero")),
    }
    let queues = take_queues(&attributes, descriptors)?;
    if queues
        .iter()
        .any(|queue| sys::tun_name(queue.as_fd()).is_err())
    {
        return Err(invalid("A descriptor is no TUN device"));
    }
    let moved = |other: &Arc<Device>| other.ifindex == ifindex && other.name != name;
    if state.devices.values().any(moved) || is_stale(state, &name) {
        follow_names(state)?;
    }
    let holder = state.tables.own_device(if_id).cloned();
    if let Some(other) = holder.filter(|other| other.name != name) {
        if other.current_name().is_ok() {
            return Err(Refusal::new(libc::EEXIST, "Another device has this if_id"));
        }
        // It was deleted by hand.
        state.path.release_device(&other.name);
        state.remove_device(&other.name);
    }
    let old = state.devices.get(&name).cloned();
    let queues = match (&old, queues.is_empty()) {
        (_, false) => queues,
        (None, true) => {
            return Err(Refusal::new(
                libc::ENODEV,
                "No such device, and no descriptor of one",
            ))
        }
        (Some(old), true) => duplicates(old)?,
    };
    let stats = old.map_or_else(
        || Arc::new(LinkStats::default()),
        |old| Arc::clone(&old.stats),
    );
    serve(
        state,
        Device {
            name,
            if_id,
            ifindex,
            mtu: AtomicU32::new(mtu),
            attached: AtomicBool::new(false),
            queues,
            stats,
        },
    )?;
    Answer::done()
}

fn serve(state: &mut State, device: Device) -> Result<(), Refusal> {
    let device = Arc::new(device);
    let served = state.path.serve_device(Arc::clone(&device));
    served.map_err(|error| {
        let number = error.raw_os_error().unwrap_or(libc::EIO);
        Refusal::new(number, "The device cannot be served")
    })?;
    state.insert_device(&device);
    Ok(())
}

fn duplicates(device: &Device) -> Result<Vec<OwnedFd>, Refusal> {
    let queues = device.queues.iter().map(OwnedFd::try_clone);
    let all: Result<_, std::io::Error> = queues.collect();
    all.map_err(|error| Refusal::new(libc::EMFILE, &error.to_string()))
}

/// Whether the device of that name bears another one now.
fn is_stale(state: &State, name: &str) -> bool {
    let device = state.devices.get(name);
    device.is_some_and(|one| one.current_name().is_ok_and(|now| now != name))
}

/// Devices that were renamed by hand go on under their new names.
fn follow_names(state: &mut State) -> Result<(), Refusal> {
    let mut renamed = Vec::new();
    for device in state.devices.values() {
        match device.current_name() {
            Ok(now) if now != device.name => renamed.push((Arc::clone(device), now)),
            _ => {}
        }
    }
    for (old, _) in &renamed {
        state.path.release_device(&old.name);
        state.remove_device(&old.name);
    }
    for (old, name) in renamed {
        let queues = duplicates(&old)?;
        let device = Device {
            name,
            if_id: old.if_id,
            ifindex: old.ifindex,
            mtu: AtomicU32::new(old.mtu.load(Relaxed)),
            attached: AtomicBool::new(false),
            queues,
            stats: Arc::clone(&old.stats),
        };
        serve(state, device)?;
    }
    Ok(())
}

/// Follows renames where a name is not known, or is known for another device.
fn find_name(state: &mut State, payload: &[u8]) -> Result<String, Refusal> {
    let name = name(&parse(payload)?)?;
    if !state.devices.contains_key(&name) || is_stale(state, &name) {
        follow_names(state)?;
    }
    Ok(name)
}

pub fn delete(state: &mut State, payload: &[u8]) -> Result<Answer, Refusal> {
    let name = find_name(state, payload)?;
    state
        .remove_device(&name)
        .ok_or(Refusal::new(libc::ENODEV, "No such device"))?;
    state.path.release_device(&name);
    Answer::done()
}

pub fn get(state: &mut State, payload: &[u8], dump: bool) -> Result<Answer, Refusal> {
    if dump {
        follow_names(state)?;
        let devices = state.devices.values();
        return Answer::of(devices.map(|one| (e::NEWDEV, encode(one))).collect());
    }
    let name = find_name(state, payload)?;
    let device = state
        .devices
        .get(&name)
        .ok_or(Refusal::new(libc::ENODEV, "No such device"))?;
    Answer::of(vec![(e::NEWDEV, encode(device))])
}

fn encode(device: &Device) -> Vec<u8> {
    let mut payload = Vec::new();
    text(&mut payload, e::IFNAME, &device.name);
    put_attribute(&mut payload, e::IF_ID, &device.if_id.to_ne_bytes());
    if device.if_id == EXTERNAL {
        put_attribute(&mut payload, e::EXTERNAL, &[]);
    }
    put_attribute(&mut payload, e::IFINDEX, &device.ifindex.to_ne_bytes());
    put_attribute(
        &mut payload,
        e::MTU,
        &device.mtu.load(Relaxed).to_ne_bytes(),
    );
    put_attribute(
        &mut payload,
        e::ATTACHED,
        &[(device.attached.load(Relaxed) && device.current_name().is_ok()).into()],
    );
    let stats: Vec<u8> = device
        .stats
        .rtnl_link_stats64()
        .iter()
        .flat_map(|number| number.to_ne_bytes())
        .collect();
    put_attribute(&mut payload, e::STATS64, &stats);
    payload
}

fn kind(payload: &[u8]) -> Result<SocketKind, Refusal> {
    let number = number(&parse(payload)?, e::SOCK_KIND, "SOCK_KIND is missing")?;
    SocketKind::try_from(number).map_err(|()| invalid("SOCK_KIND must be 1 to 4"))
}

pub fn add_socket(
    state: &State,
    payload: &[u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> Result<Answer, Refusal> {
    let kind = kind(payload)?;
    let socket = descriptors
        .pop_front()
        .ok_or(invalid("A descriptor is missing"))?;
    state.path.serve_socket(kind, socket).map_err(|error| {
        Refusal::new(
            error.raw_os_error().unwrap_or(libc::EIO),
            &format!("The socket cannot be served: {error}"),
        )
    })?;
    Answer::done()
}

pub fn delete_socket(state: &State, payload: &[u8]) -> Result<Answer, Refusal> {
    if state.path.release_socket(kind(payload)?) {
        return Answer::done();
    }
    Err(Refusal::new(libc::ENOENT, "No such socket"))
}

pub fn get_sockets(state: &State) -> Result<Answer, Refusal> {
    let encode = |(kind, errors): (SocketKind, u64)| {
        let mut payload = Vec::new();
        put_attribute(&mut payload, e::SOCK_KIND, &(kind as u32).to_ne_bytes());
        put_attribute(&mut payload, e::SOCK_ERRORS, &errors.to_ne_bytes());
        (e::NEWSOCK, payload)
    };
    Answer::of(state.path.sockets().into_iter().map(encode).collect())
}

pub fn get_stat(state: &State) -> Result<Answer, Refusal> {
    let mut payload = Vec::new();
    for reason in DropReason::ALL {
        let value = state.stat.get(*reason).to_ne_bytes();
        put_attribute(
            &mut payload,
            e::STAT,
            &[&value, reason.name().as_bytes(), &[0]].concat(),
        );
    }
    let missed = state.path.missed_drops();
    put_attribute(&mut payload, e::MISSED, &missed.to_ne_bytes());
    let lost = state.notifications_lost;
    put_attribute(&mut payload, e::LOST, &lost.to_ne_bytes());
    Answer::of(vec![(e::NEWSTAT, payload)])
}

/// GETDROP: a NEWDROP for each drop that the workers' rings hold, the oldest first, which tells how
/// many were missed since the last time.
pub fn get_drops(state: &State) -> Result<Answer, Refusal> {
    let (drops, missed) = state.path.read_drops();
    let mut replies: Vec<Reply> = drops
        .iter()
        .map(|one| (e::NEWDROP, encode_drop(one)))
        .collect();
    if let Some((_, first)) = replies.first_mut() {
        put_attribute(first, e::MISSED, &missed.to_ne_bytes());
    }
    Answer::of(replies)
}

fn encode_drop(drop: &Dropped) -> Vec<u8> {
    let mut payload = Vec::new();
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    put_attribute(&mut payload, e::TIME, &drop.time.to_ne_bytes());
    text(&mut payload, e::REASON, drop.reason);
    put_attribute(&mut payload, e::DIRECTION, &[drop.way as u8]);
    if drop.if_id != 0 {
        put_attribute(&mut payload, e::IF_ID, &drop.if_id.to_ne_bytes());
    }
    if let Some((spi, sequence)) = drop.esp {
        put_attribute(&mut payload, e::SPI, &spi.to_ne_bytes());
        put_attribute(&mut payload, e::SEQUENCE, &sequence.to_ne_bytes());
    }
    if let Some((source, destination)) = drop.outer {
        put_attribute(&mut payload, e::SOURCE, &octets(source));
        put_attribute(&mut payload, e::DESTINATION, &octets(destination));
    }
    if !drop.header.is_empty() {
        put_attribute(&mut payload, e::INNER_HEADER, &drop.header);
    }
    payload
}

pub fn get_info(state: &State) -> Result<Answer, Refusal> {
    let mut payload = Vec::new();
    text(&mut payload, e::VERSION, env!("CARGO_PKG_VERSION"));
    put_attribute(&mut payload, e::PID, &std::process::id().to_ne_bytes());
    text(&mut payload, e::CRYPTO, &state.path.crypto());
    put_attribute(&mut payload, e::BOOT_ID, &state.boot_id);
    Answer::of(vec![(e::NEWINFO, payload)])
}

pub fn join(payload: &[u8]) -> Result<Answer, Refusal> {
    let groups = number(&parse(payload)?, e::GROUPS, "GROUPS is missing")?;
    Ok(Answer {
        effect: Effect::Join(groups),
        ..Answer::default()
    })
}
