//! The snapshot of SAD, SPD and devices that workers forward by, and how it is published.
//!
//! The control thread builds a new `Tables` per datagram of requests and publishes it before it
//! acknowledges, so what was acknowledged is in force for every later batch.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::device::Device;
use crate::policy::{Direction, Flow, Policy, Template};
use crate::sa::Sa;
use crate::sys::Waker;

/// XFRM_MODE_TUNNEL.
pub const MODE_TUNNEL: u8 = 1;

/// An immutable picture of everything a packet is matched by.
#[derive(Default)]
pub struct Tables {
    /// By SPI; the rest of the key is compared (an SPI is nearly always unique).
    pub inbound: HashMap<u32, Vec<Arc<Sa>>>,
    /// By reqid, newest first: what a template picks from.
    pub outbound: HashMap<u32, Vec<Arc<Sa>>>,
    /// By direction and if_id, in order of priority, then age.
    pub policies: HashMap<(Direction, u32), Vec<Arc<Policy>>>,
    /// By if_id.
    pub devices: HashMap<u32, Arc<Device>>,
}

impl Tables {
    /// The SA of an incoming packet: destination, SPI and protocol; if_id plays no part
    /// (`xfrm_state_lookup`).
    pub fn inbound_sa(&self, destination: IpAddr, spi: u32) -> Option<&Arc<Sa>> {
        self.inbound
            .get(&spi)?
            .iter()
            .find(|sa| sa.config.destination == destination)
    }

    /// The first policy of a direction and if_id that matches, by strict equality of if_id.
    pub fn policy(&self, direction: Direction, if_id: u32, flow: &Flow) -> Option<&Arc<Policy>> {
        self.policies
            .get(&(direction, if_id))?
            .iter()
            .find(|policy| policy.selector.matches(flow))
    }

    /// The SA that a template asks for (`xfrm_state_find`): same reqid, mode, protocol, if_id and
    /// addresses, newest first.
    pub fn outbound_sa(&self, template: &Template, if_id: u32) -> Option<&Arc<Sa>> {
        self.outbound.get(&template.reqid)?.iter().find(|sa| {
            let config = &sa.config;
            config.if_id == if_id
                && config.mode == template.mode
                && config.protocol == template.protocol
                && config.destination == template.destination
                && (config.source == template.source || template.source.is_unspecified())
                && (template.spi == 0 || template.spi == config.spi)
        })
    }
}

/// The current snapshot with its generation number.
#[derive(Default)]
pub struct Published {
    generation: AtomicU64,
    current: Mutex<Arc<Tables>>,
    wakers: Mutex<Vec<Arc<Waker>>>,
}

impl Published {
    /// Puts a new snapshot in force.
    pub fn publish(&self, tables: Tables) {
        let mut current = self
            .current
            .lock()
            .expect("no worker panics while it holds the lock");
        *current = Arc::new(tables);
        self.generation.fetch_add(1, Ordering::Release);
        for waker in self
            .wakers
            .lock()
            .expect("no holder of the lock panics")
            .iter()
        {
            waker.wake();
        }
    }

    /// Wakes a worker at each publication, so that it lets go of what is no longer in force.
    pub fn subscribe(&self, waker: Arc<Waker>) {
        self.wakers
            .lock()
            .expect("no holder of the lock panics")
            .push(waker);
    }

    /// The current snapshot, for a worker that compares `generation()` once per batch.
    pub fn load(&self) -> (u64, Arc<Tables>) {
        let current = self
            .current
            .lock()
            .expect("no worker panics while it holds the lock");
        (
            self.generation.load(Ordering::Acquire),
            Arc::clone(&current),
        )
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
