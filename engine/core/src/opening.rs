//! One received packet, its SA, and what the SA makes of it: steps 1 to 7 of `inbound`.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use crate::esp::{self, Opened};
use crate::events::{Event, Events};
use crate::ip;
use crate::received::Received;
use crate::replay::ReplayWindow;
use crate::sa::{Encapsulation, Sa, SaConfig, SaDirection};
use crate::stats::DropReason;
use crate::tables::Tables;

/// Why a packet has no SA that could open it.
pub struct WithoutSa {
    pub reason: DropReason,
    /// That of the larval SA which it hit: its device counts an error.
    pub if_id: Option<u32>,
}

impl WithoutSa {
    pub fn of(reason: DropReason) -> WithoutSa {
        WithoutSa {
            reason,
            if_id: None,
        }
    }
}

/// Steps 1 and 2.
pub fn find(tables: &Tables, received: &Received, octets: &[u8]) -> Result<Arc<Sa>, WithoutSa> {
    let (spi, _) = esp::header(octets).ok_or(WithoutSa::of(DropReason::InHdrError))?;
    let is_out = |config: &SaConfig| config.direction == Some(SaDirection::Out);
    if let Some(sa) = tables.inbound_sa(received.destination, spi) {
        return if is_out(&sa.config) {
            Err(WithoutSa::of(DropReason::InStateDirError))
        } else {
            Ok(Arc::clone(sa))
        };
    }
    Err(match tables.inbound_larval(received.destination, spi) {
        None => WithoutSa::of(DropReason::InNoStates),
        Some(larval) if is_out(&larval.config) => WithoutSa::of(DropReason::InStateDirError),
        Some(larval) => WithoutSa {
            reason: DropReason::AcquireError,
            if_id: Some(larval.config.if_id),
        },
    })
}

/// Steps 3 to 7 for one packet; `pending` packets and octets of the SA are not counted yet. The
/// window is locked from check to commit, so there is nothing to check again.
pub fn unseal(
    events: &Events,
    sa: &Arc<Sa>,
    window: &mut ReplayWindow,
    pending: (u64, u64),
    buffer: &mut [u8],
    received: &Received,
) -> Result<Opened, DropReason> {
    if !sa.state.is_valid() {
        return Err(DropReason::InStateInvalid);
    }
    let in_udp = matches!(sa.config.encapsulation, Encapsulation::Udp { .. });
    if in_udp != received.encapsulated {
        return Err(DropReason::InStateMismatch);
    }
    let packet = buffer
        .get_mut(received.start..received.start + received.length)
        .ok_or(DropReason::InHdrError)?;
    let (_, low) = esp::header(packet).ok_or(DropReason::InHdrError)?;
    let sequence = window.check(low).inspect_err(|_| {
        if window.is_zero(low) {
            return;
        }
        let counter = if window.too_old(low) {
            &sa.state.replay_window_drops
        } else {
            &sa.state.replay_drops
        };
        counter.fetch_add(1, Relaxed);
    })?;
    if sa.expires(events, pending.0, pending.1) {
        return Err(DropReason::InStateExpired);
    }
    if packet.len() < esp::smallest(&sa.transform) {
        return Err(DropReason::InStateProtoError);
    }
    if esp::authenticate(&sa.transform, sequence, sa.esn(), packet).is_err() {
        sa.state.integrity_failures.fetch_add(1, Relaxed);
        return Err(DropReason::InStateProtoError);
    }
    let opened = esp::trailer(&sa.transform, packet)?;
    watch_mapping(events, sa, received);
    if opened.next_header == ip::NO_NEXT_HEADER {
        // A dummy (RFC 4303, 2.6), which the kernel drops under this name and whose number it
        // does not remember (`esp_input_done2`).
        return Err(DropReason::InStateProtoError);
    }
    window.commit(sequence);
    Ok(opened)
}

/// `km_new_mapping()`: the peer's NAT has given it another address or port.
fn watch_mapping(events: &Events, sa: &Arc<Sa>, received: &Received) {
    let Encapsulation::Udp { source_port, .. } = sa.config.encapsulation else {
        return;
    };
    if received.source_port != source_port || received.source != sa.config.source {
        events.tell(Event::Mapping {
            sa: Arc::clone(sa),
            source: received.source,
            source_port: received.source_port,
        });
    }
}
