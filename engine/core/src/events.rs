//! What workers tell the control thread: a bounded queue, so that no packet waits for control.
//!
//! An event that finds the queue full is lost and counted; what it would have said stands in the
//! SA's own flags too, which the control thread looks at from time to time, or comes again with the
//! next packet.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex};

use crate::ike_way::IkeWay;
use crate::policy::{Flow, Policy};
use crate::sa::Sa;
use crate::sys::Waker;

/// Events that wait at most.
const MOST_EVENTS: usize = 1024;

/// Something that only the control thread can act on.
pub enum Event {
    /// A packet found no SA for a template of its policy (`km_query`).
    Acquire {
        policy: Arc<Policy>,
        /// Which of the policy's templates.
        template: usize,
        flow: Flow,
    },
    /// Bytes or packets of an SA have reached a limit.
    Expire { sa: Arc<Sa>, hard: bool },
    /// An authentic packet in UDP came from another address or port (`km_new_mapping`).
    Mapping {
        sa: Arc<Sa>,
        source: IpAddr,
        source_port: u16,
    },
    /// The replay state has moved by the threshold of NEWAE (`xfrm_replay_notify`).
    Replay { sa: Arc<Sa> },
}

/// The workers' end and the control thread's end.
pub struct Events {
    sender: SyncSender<Event>,
    receiver: Mutex<Receiver<Event>>,
    waker: Waker,
    lost: AtomicU64,
    /// Where IKE goes that comes to the socket for ESP in UDP.
    pub ike: IkeWay,
}

impl Events {
    pub fn new() -> std::io::Result<Events> {
        let (sender, receiver) = sync_channel(MOST_EVENTS);
        Ok(Events {
            sender,
            receiver: Mutex::new(receiver),
            waker: Waker::new()?,
            lost: AtomicU64::new(0),
            ike: IkeWay::default(),
        })
    }

    /// Tells the control thread; never waits.
    pub fn tell(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.waker.wake();
    }

    /// Ready to read when something was told.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Everything told so far.
    pub fn take(&self) -> Vec<Event> {
        self.waker.clear();
        let receiver = self.receiver.lock().expect("no holder of the lock panics");
        receiver.try_iter().collect()
    }

    /// Events that found the queue full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
