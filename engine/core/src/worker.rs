//! The threads of the packet path: outbound workers read TUN devices, inbound workers sockets.
//!
//! A worker waits on one epoll set; the control thread adds to it and takes from it. On each wake
//! it takes the current tables once, works through what is ready in bounded portions, and lets go.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use crate::device::Device;
use crate::drop_ring::{DropRing, Dropped, Way};
use crate::events::Events;
use crate::icmp::ErrorLimit;
use crate::inbound::{Inbound, Received};
use crate::offload::coalesce::Writes;
use crate::offload::vnet::{self, VnetHeader};
use crate::outbound::{Outbound, Staging};
use crate::path_mtu::Paths;
use crate::published::Published;
use crate::stats::{DropReason, XfrmStat};
use crate::sys::{self, Epoll, Waker};
use crate::tables::Tables;
use crate::underlay::{Socket, SocketKind, Unsent, RECEIVE_BUFFER};

/// Reads or receives per descriptor and wake, so that one busy device starves no other.
const PORTION: usize = 32;
const READ_BUFFER: usize = vnet::LENGTH + 65_536;

/// The sockets in force, by kind.
pub type Sockets = RwLock<[Option<Arc<Socket>>; SocketKind::ALL.len()]>;

/// What a worker waits for.
#[derive(Clone)]
pub enum Source {
    Queue(Arc<Device>, usize),
    Socket(Arc<Socket>),
}

/// A worker as the control thread sees it.
pub struct Worker {
    epoll: Epoll,
    waker: Arc<Waker>,
    sources: Mutex<HashMap<u64, Source>>,
    next_token: AtomicU64,
}

const WAKER: u64 = 0;

impl Worker {
    pub fn new() -> io::Result<Worker> {
        let worker = Worker {
            epoll: Epoll::new()?,
            waker: Arc::new(Waker::new()?),
            sources: Mutex::new(HashMap::new()),
            next_token: AtomicU64::new(WAKER + 1),
        };
        worker.epoll.add(worker.waker.fd(), WAKER)?;
        Ok(worker)
    }

    /// Wakes the worker, so that it lets go of old tables.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub fn add(&self, source: Source) -> io::Result<()> {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(token, source.clone());
        let added = match &source {
            Source::Queue(device, queue) => self.epoll.add(device.queues[*queue].as_fd(), token),
            Source::Socket(socket) => self.epoll.add(socket.fd(), token),
        };
        if added.is_err() {
            self.lock().remove(&token);
        }
        added
    }

    /// Stops waiting for what `matches`.
    pub fn remove(&self, matches: impl Fn(&Source) -> bool) {
        self.lock().retain(|_, source| {
            if !matches(source) {
                return true;
            }
            // A device that was deleted by hand has left the set by itself.
            let _ = match source {
                Source::Queue(device, queue) => self.epoll.remove(device.queues[*queue].as_fd()),
                Source::Socket(socket) => self.epoll.remove(socket.fd()),
            };
            false
        });
        self.waker.wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Source>> {
        self.sources.lock().expect("no holder of the lock panics")
    }

    /// The sources that are ready, after waiting for one.
    fn ready(&self, tokens: &mut Vec<u64>, ready: &mut Vec<Source>) -> io::Result<()> {
        ready.clear();
        self.epoll.wait(tokens)?;
        if tokens.contains(&WAKER) {
            self.waker.clear();
        }
        let sources = self.lock();
        ready.extend(
            tokens
                .iter()
                .filter_map(|token| sources.get(token).cloned()),
        );
        Ok(())
    }
}

/// What both kinds of worker share.
pub struct Shared {
    pub published: Arc<Published>,
    pub stat: Arc<XfrmStat>,
    pub events: Arc<Events>,
    /// Of every worker.
    pub rings: Mutex<Vec<Arc<DropRing>>>,
    pub sockets: Sockets,
}

impl Shared {
    /// The socket of a kind, if there is one.
    pub fn socket(&self, kind: SocketKind) -> Option<Arc<Socket>> {
        self.sockets.read().expect("no writer panics")[kind as usize - 1].clone()
    }

    fn keep_ring(&self, ring: &Arc<DropRing>) {
        let mut rings = self.rings.lock().expect("no holder of the lock panics");
        rings.push(Arc::clone(ring));
    }
}

/// The loop of an outbound worker: TUN to underlay. Ends only with the process.
pub fn run_outbound(worker: &Worker, shared: &Arc<Shared>) -> io::Result<()> {
    let mut outbound = Outbound::new(Arc::clone(&shared.stat), Arc::clone(&shared.events));
    let sockets = Arc::clone(shared);
    outbound.ask(Paths::new(Box::new(move |sa, outer| {
        sockets.socket(SocketKind::of(sa))?.path_mtu(sa, outer)
    })));
    shared.keep_ring(&outbound.ring);
    outbound.follow(Arc::clone(&shared.published));
    let passage = shared.published.grace.join();
    let mut staging = Staging::new();
    let mut limit = ErrorLimit::new(Instant::now());
    let mut buffer = vec![0; READ_BUFFER];
    let (mut tokens, mut ready) = (Vec::new(), Vec::new());
    let mut generation = 0;
    loop {
        passage.leave();
        worker.ready(&mut tokens, &mut ready)?;
        for source in ready.drain(..) {
            passage.enter(&shared.published);
            let Source::Queue(device, queue) = source else {
                continue;
            };
            let fd = device.queues[queue].as_fd();
            let mut tables = None;
            for _ in 0..PORTION {
                let length = match sys::read(fd, &mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.raw_os_error() == Some(libc::EBADFD) => {
                        device.attached.store(false, Ordering::Relaxed);
                        worker.remove(|other| is_queue(other, &device, queue));
                        break;
                    }
                    Err(_) => break,
                };
                // After the read: an SA that was there before the packet is not missed.
                let (tables, changed) = shared.published.refresh(&mut tables, &mut generation);
                if changed {
                    outbound.tables_changed();
                    flush(&mut staging, &device, shared);
                    passage.advance(generation);
                    release(&mut outbound, tables, &mut staging, &mut limit, shared);
                }
                let answer = outbound.seal(tables, &device, &buffer[..length], &mut staging);
                if let Some(answer) = answer.filter(|_| limit.admits(Instant::now())) {
                    write_back(&device, &answer);
                }
                if staging.is_full() {
                    flush(&mut staging, &device, shared);
                }
            }
            flush(&mut staging, &device, shared);
        }
        if generation != shared.published.generation() {
            // Old tables hold keys of SAs that were deleted.
            outbound.tables_changed();
            generation = 0;
            passage.enter(&shared.published);
            if outbound.holds() {
                let (_, tables) = shared.published.load();
                release(&mut outbound, &tables, &mut staging, &mut limit, shared);
            }
        }
    }
}

/// What waited for an SA goes before what is read now.
fn release(
    outbound: &mut Outbound,
    tables: &Tables,
    staging: &mut Staging,
    limit: &mut ErrorLimit,
    shared: &Shared,
) {
    outbound.release(tables, staging, |device, answer, staging| {
        if let Some(answer) = answer.filter(|_| limit.admits(Instant::now())) {
            write_back(device, &answer);
        }
        flush(staging, device, shared);
    });
}

/// An ICMP error to the sender of a packet; one that cannot be delivered is lost, as on any link.
fn write_back(device: &Device, answer: &[u8]) {
    let header = VnetHeader::default().encode();
    let parts = [IoSlice::new(&header), IoSlice::new(answer)];
    if let Some(queue) = device.queues.first() {
        let _ = sys::write_parts(queue.as_fd(), &parts);
    }
}

fn is_queue(source: &Source, device: &Arc<Device>, queue: usize) -> bool {
    matches!(source, Source::Queue(other, number) if Arc::ptr_eq(other, device) && *number == queue)
}

/// Sends what was sealed for one device's packets.
fn flush(staging: &mut Staging, device: &Device, shared: &Shared) {
    for row in &staging.datagrams {
        let kind = SocketKind::of(&row.sa);
        let socket = shared.socket(kind);
        let packets = row.length.div_ceil(row.segment) as u64;
        let (reason, lost) = match socket {
            None => (Some(DropReason::OutError), packets),
            Some(socket) => match socket.send(row, &staging.buffer) {
                Ok(()) => continue,
                // The path has become smaller, which its next packet's sender is told.
                Err(Unsent { error, lost }) if is_too_big(&error) => (None, lost),
                Err(Unsent { error, lost }) => (Some(reason_of(&error)), lost),
            },
        };
        if let Some(reason) = reason {
            shared.stat.add(reason, lost);
        }
        device
            .stats
            .tx_aborted_errors
            .fetch_add(lost, Ordering::Relaxed);
        device.stats.tx_errors.fetch_add(lost, Ordering::Relaxed);
        device.stats.tx_dropped.fetch_add(lost, Ordering::Relaxed);
    }
    staging.clear();
}

fn is_too_big(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// The kernel's counter for an outer route that is missing, or for anything else.
fn reason_of(error: &io::Error) -> DropReason {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EINVAL) => {
            DropReason::OutBundleGenError
        }
        _ => DropReason::OutError,
    }
}

/// The loop of an inbound worker: underlay to TUN. Ends only with the process.
pub fn run_inbound(worker: &Worker, shared: &Arc<Shared>) -> io::Result<()> {
    let mut inbound = Inbound::new(Arc::clone(&shared.stat), Arc::clone(&shared.events));
    shared.keep_ring(&inbound.ring);
    let mut writes = Writes::default();
    // Behind what was received is room for packets that get another header.
    let mut buffer = vec![0; 2 * RECEIVE_BUFFER];
    let mut received = Vec::new();
    let (mut tokens, mut ready) = (Vec::new(), Vec::new());
    let mut generation = 0;
    loop {
        worker.ready(&mut tokens, &mut ready)?;
        for source in ready.drain(..) {
            let Source::Socket(socket) = source else {
                continue;
            };
            let mut tables = None;
            for _ in 0..PORTION {
                // Errors are counted by the socket; the next wake tries again.
                if !matches!(
                    socket.receive(&mut buffer[..RECEIVE_BUFFER], &mut received),
                    Ok(true)
                ) {
                    break;
                }
                // After the packets came: an SA that was there before them is not missed.
                let (tables, changed) = shared.published.refresh(&mut tables, &mut generation);
                if changed {
                    inbound.tables_changed();
                }
                deliver(
                    &mut inbound,
                    &mut writes,
                    tables,
                    &mut buffer,
                    &received,
                    shared,
                );
            }
        }
        if generation != shared.published.generation() {
            inbound.tables_changed();
            generation = 0;
        }
    }
}

fn deliver(
    inbound: &mut Inbound,
    writes: &mut Writes,
    tables: &Tables,
    buffer: &mut [u8],
    received: &[Received],
    shared: &Shared,
) {
    let arena = RECEIVE_BUFFER..buffer.len();
    inbound.open(tables, buffer, received, arena);
    writes.coalesce(buffer, &inbound.inners);
    for write in &writes.writes {
        let device = &inbound.devices[write.device];
        let mut parts = Vec::with_capacity(1 + write.parts.len());
        parts.push(IoSlice::new(&write.header));
        for (start, length) in &writes.parts[write.parts.clone()] {
            parts.push(IoSlice::new(&buffer[*start..start + length]));
        }
        let (start, length) = writes.parts[write.parts.start];
        let first = &buffer[start..start + length];
        let queue = device.queue_of(first);
        match sys::write_parts(queue.as_fd(), &parts) {
            Ok(_) => {
                device
                    .stats
                    .rx_packets
                    .fetch_add(write.packets, Ordering::Relaxed);
                device
                    .stats
                    .rx_bytes
                    .fetch_add(write.octets, Ordering::Relaxed);
            }
            Err(error) => {
                // EIO: the interface is down, which for the kernel means that it is not there: no
                // counter of the device's.
                if matches!(error.raw_os_error(), Some(libc::EIO | libc::EBADFD)) {
                    let reason = DropReason::InNoPols;
                    shared.stat.add(reason, write.packets);
                    inbound.ring.record(|| {
                        Dropped::new(reason.name(), Way::In, device.if_id).with_inner(first)
                    });
                    continue;
                }
                device
                    .stats
                    .rx_dropped
                    .fetch_add(write.packets, Ordering::Relaxed);
                device
                    .stats
                    .rx_errors
                    .fetch_add(write.packets, Ordering::Relaxed);
            }
        }
    }
}
