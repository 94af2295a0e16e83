//! The segments of one read through the SAs of a bundle.
//!
//! 1. the path takes it in one piece: else the kernel's ICMP answer, or fragments outside
//!
//! Then for each segment and SA, in the order of `xfrm_output_one()`:
//! 2. what the mode carries of the packet, and the outer header: else XfrmOutStateModeError
//! 3. the SA is valid: else XfrmOutStateInvalid
//! 4. its limits: else XfrmOutStateExpired
//! 5. a sequence number: else XfrmOutStateSeqError
//! 6. it is sealed: else XfrmOutStateProtoError
//!
//! For the common bundle of one SA, all but the last is done for all segments at once, and that in
//! place; `nested` goes packet by packet.

mod nested;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::bundle::Bundle;
use crate::device::Device;
use crate::esp;
use crate::events::{Event, Events};
use crate::icmp;
use crate::ip::Packet;
use crate::losses::Losses;
use crate::modes::{Wrapping, LONGEST_PACKET};
use crate::offload::segment::Segments;
use crate::offload::vnet::VnetHeader;
use crate::path_mtu::{self, Paths, ALWAYS_FITS};
use crate::sa::Sa;
use crate::staging::{Outer, Staging};
use crate::stats::DropReason;
use crate::tables::Tables;

/// The least MTU of IPv6 (RFC 8200, 5).
const IPV6_MIN_MTU: usize = 1280;

/// What a worker needs to seal.
pub struct Sealer {
    losses: Losses,
    events: Arc<Events>,
    pub paths: Paths,
    /// A packet whose header does not travel as it is.
    scratch: Vec<u8>,
    /// Of the IPv4 headers that are written here, between two SAs.
    identification: u16,
}

/// Packets and inner octets that were sealed.
#[derive(Default)]
struct Sealed {
    packets: u64,
    octets: u64,
}

/// Why nothing of a read was sealed. Nothing was counted yet.
enum Unsealed {
    /// The path does not take it in one piece; the sender is told the MTU that fits.
    TooBig(usize),
    Gone,
}

/// The SA of a bundle was deleted or ran out since the bundle was found.
pub struct Gone;

struct Read<'a> {
    device: &'a Device,
    octets: &'a [u8],
    packet: &'a Packet,
    segments: Segments<'a>,
}

impl Sealer {
    pub fn new(losses: Losses, events: Arc<Events>) -> Sealer {
        Sealer {
            losses,
            events,
            paths: Paths::unlimited(),
            scratch: Vec::new(),
            identification: 0,
        }
    }

    /// Seals a read, and counts what was sealed and what was not; gives the ICMP answer if there is
    /// one. Where the bundle's SA is gone the caller looks for another.
    #[allow(clippy::too_many_arguments)]
    pub fn seal(
        &mut self,
        bundle: &Bundle,
        tables: &Tables,
        device: &Device,
        header: &VnetHeader,
        octets: &[u8],
        packet: &Packet,
        staging: &mut Staging,
    ) -> Result<Option<Vec<u8>>, Gone> {
        let Some(segments) = Segments::new(header, octets, packet) else {
            let reason = Some(DropReason::OutError);
            self.losses.add(device, octets, 1, reason);
            return Ok(None);
        };
        let read = Read {
            device,
            octets: &octets[..packet.length],
            packet,
            segments,
        };
        let sealed = match bundle.sas.as_slice() {
            [sa] => self.seal_single(sa, &read, staging),
            sas => self.seal_nested(sas, &read, staging),
        };
        match sealed {
            Ok(sealed) => {
                bundle.policy.state.count(sealed.packets, sealed.octets);
                device.stats.tx_packets.fetch_add(sealed.packets, Relaxed);
                device.stats.tx_bytes.fetch_add(sealed.octets, Relaxed);
                if tables.aevents {
                    self.watch_replay(bundle);
                }
                Ok(None)
            }
            Err(Unsealed::TooBig(mtu)) => {
                self.losses.add(device, octets, 1, None);
                Ok(icmp::too_big(octets, packet, mtu))
            }
            Err(Unsealed::Gone) => Err(Gone),
        }
    }

    /// `xfrm_replay_notify()`, once per read. Only the numbers sent can have moved here.
    fn watch_replay(&self, bundle: &Bundle) {
        for sa in &bundle.sas {
            if sa.state.replay_moved(sa.state.told_seq.load(Relaxed)) {
                let sa = Arc::clone(sa);
                self.events.tell(Event::Replay { sa });
            }
        }
    }

    /// One SA. The segments of one read differ in nothing but their length that the wrapping
    /// depends on.
    fn seal_single(
        &mut self,
        sa: &Arc<Sa>,
        read: &Read,
        staging: &mut Staging,
    ) -> Result<Sealed, Unsealed> {
        let segments = &read.segments;
        let all = segments.count() as u64;
        let mut wrapping = match Wrapping::of(sa, read.octets, read.packet) {
            Ok(wrapping) => wrapping,
            Err(reason) => {
                self.drop(read, all, reason);
                return Ok(Sealed::default());
            }
        };
        if !self.fits(std::slice::from_ref(sa), &wrapping, read)? {
            wrapping.outer.df = false;
        }
        let first_payload = wrapping.payload(segments.length(0));
        let padding = tfc_padding(sa, read.device, first_payload);
        let place = esp::sealed_length(&sa.transform, first_payload, padding);
        if !staging.has_room(segments.count() * place)
            || place + wrapping.outer_length(sa) > LONGEST_PACKET
        {
            self.drop(read, all, DropReason::OutError);
            return Ok(Sealed::default());
        }
        if !sa.state.is_valid() {
            return Err(Unsealed::Gone);
        }
        let Some((first, count)) = self.grant(sa, read, all, first_payload as u64) else {
            return Ok(Sealed::default());
        };
        let offset = esp::payload_offset(&sa.transform);
        let (mut sealed, mut payloads) = (Sealed::default(), 0);
        for n in 0..count {
            let inner = segments.length(n as usize);
            let payload = wrapping.payload(inner);
            let padding = tfc_padding(sa, read.device, payload);
            let length = esp::sealed_length(&sa.transform, payload, padding);
            let target = staging.place(sa, wrapping.outer_of(inner), length);
            let body = &mut target[offset..offset + payload];
            if wrapping.carries_all() {
                segments.write(n as usize, body);
            } else {
                self.scratch.resize(inner, 0);
                segments.write(n as usize, &mut self.scratch);
                put_payload(&wrapping, &self.scratch, body);
            }
            payloads += payload as u64;
            match seal_in_place(sa, first + n, &wrapping, payload, padding, target) {
                Ok(()) => {
                    sealed.packets += 1;
                    sealed.octets += inner as u64;
                }
                Err(reason) => {
                    // What stands there is in clear: it must not be sent.
                    staging.take_back(length);
                    self.drop(read, 1, reason);
                }
            }
        }
        sa.state.count(count, payloads);
        Ok(sealed)
    }

    /// Step 1: false for a packet that the path does not take in one piece and that may be cut
    /// outside; one that may not be cut goes back to its sender (`xfrmi_xmit2`). The wrapping is that
    /// of the first SA.
    fn fits(
        &mut self,
        sas: &[Arc<Sa>],
        wrapping: &Wrapping,
        read: &Read,
    ) -> Result<bool, Unsealed> {
        let length = read.segments.length(0);
        let (Some((first, others)), Some(outermost)) = (sas.split_first(), sas.last()) else {
            return Ok(true);
        };
        if others.is_empty() && length <= ALWAYS_FITS {
            return Ok(true);
        }
        let outer = if others.is_empty() {
            wrapping.outer
        } else {
            Outer::of(outermost)
        };
        let Some(mtu) = self.paths.mtu(outermost, &outer) else {
            return Ok(true);
        };
        let mtu = others.iter().rev().fold(mtu, path_mtu::nested_mtu);
        let longest = path_mtu::inner_mtu(first, wrapping, mtu);
        if length <= longest {
            return Ok(true);
        }
        let (may_be_cut, told) = match read.octets {
            [first, _, _, _, _, _, flags, ..] if first >> 4 == 4 => (flags & 0x40 == 0, longest),
            // 1280 octets must pass.
            _ => (length <= IPV6_MIN_MTU, longest.max(IPV6_MIN_MTU)),
        };
        if may_be_cut {
            return Ok(false);
        }
        Err(Unsealed::TooBig(told))
    }

    /// Steps 4 and 5 for `all` segments, each with a payload of `octets` (the last may have less):
    /// the first sequence number, and how many may be sent. The others are counted here.
    fn grant(&self, sa: &Arc<Sa>, read: &Read, all: u64, octets: u64) -> Option<(u64, u64)> {
        let limits = &sa.config.limits;
        let left = |limit: u64, used: u64| limit.saturating_sub(used);
        let packets = left(limits.hard_packets, sa.state.packets.load(Relaxed));
        let bytes = left(limits.hard_bytes, sa.state.octets.load(Relaxed));
        let within = all.min(packets).min(bytes.div_ceil(octets.max(1)));
        let granted = (1..=within)
            .rev()
            .find_map(|count| Some((sa.reserve_sequence(count)?, count)));
        let numbered = granted.map_or(0, |(_, count)| count);
        self.drop(read, within - numbered, DropReason::OutStateSeqError);
        if let Some(before) = numbered.checked_sub(1) {
            // A soft limit that the last of them finds reached.
            sa.expires(&self.events, before, before * octets);
        }
        if within < all {
            // The first that is too many finds the limit reached, the others an SA that is over.
            sa.expires(&self.events, within, within * octets);
            self.drop(read, 1, DropReason::OutStateExpired);
            self.drop(read, all - within - 1, DropReason::OutStateInvalid);
        }
        granted
    }

    fn drop(&self, read: &Read, packets: u64, reason: DropReason) {
        self.losses
            .add(read.device, read.octets, packets, Some(reason));
    }
}

/// RFC 4303, 2.7: up to what the SA asks for, and no longer than the interface's packets, which fill
/// the path (`esp_output`, `xfrm_state_mtu`).
fn tfc_padding(sa: &Sa, device: &Device, payload: usize) -> usize {
    if sa.config.tfc_padding == 0 {
        return 0;
    }
    let wanted = sa.config.tfc_padding.min(device.mtu.load(Relaxed)) as usize;
    wanted.saturating_sub(payload)
}

fn put_payload(wrapping: &Wrapping, packet: &[u8], target: &mut [u8]) {
    let (prefix, rest) = target.split_at_mut(wrapping.prefix_length);
    prefix.copy_from_slice(&wrapping.prefix[..wrapping.prefix_length]);
    rest.copy_from_slice(&packet[wrapping.skip..]);
}

fn seal_in_place(
    sa: &Sa,
    sequence: u64,
    wrapping: &Wrapping,
    payload: usize,
    tfc_padding: usize,
    target: &mut [u8],
) -> Result<(), DropReason> {
    esp::seal(
        &sa.transform,
        sa.config.spi,
        sequence,
        sequence ^ sa.state.iv_mask,
        sa.esn(),
        payload,
        tfc_padding,
        wrapping.next_header,
        target,
    )
}
