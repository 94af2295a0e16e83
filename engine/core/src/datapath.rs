//! The packet path as the control thread sees it: devices and sockets come and go.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};
use std::thread;

use crate::crypto;
use crate::device::Device;
use crate::drop_ring::Dropped;
use crate::events::Events;
use crate::outbound::{Datagram, Outer};
use crate::published::Published;
use crate::sa::Sa;
use crate::stats::XfrmStat;
use crate::sys;
use crate::underlay::{Plain, Socket, SocketKind};
use crate::worker::{run_inbound, run_outbound, Shared, Source, Worker};

/// Threads for each direction at most; more gain nothing before the sockets are many as well.
const MOST_WORKERS: usize = 4;

/// The workers, which run until the process ends.
pub struct DataPath {
    shared: Arc<Shared>,
    outbound: Vec<Arc<Worker>>,
    inbound: Vec<Arc<Worker>>,
}

impl DataPath {
    /// Starts the threads: for each direction half as many as there are processors.
    pub fn new(
        published: Arc<Published>,
        stat: Arc<XfrmStat>,
        events: Arc<Events>,
    ) -> io::Result<DataPath> {
        let processors = thread::available_parallelism().map_or(2, usize::from);
        let count = (processors / 2).clamp(1, MOST_WORKERS);
        let sockets = RwLock::new([None, None, None, None]);
        let shared = Arc::new(Shared {
            published,
            stat,
            events,
            rings: Mutex::default(),
            sockets,
        });
        let start = |name: &str, run: fn(&Worker, &Arc<Shared>) -> io::Result<()>| {
            (0..count)
                .map(|n| {
                    let worker = Arc::new(Worker::new()?);
                    shared.published.subscribe(worker.waker());
                    let (own, shared) = (Arc::clone(&worker), Arc::clone(&shared));
                    thread::Builder::new()
                        .name(format!("{name}-{n}"))
                        .spawn(move || {
                            if let Err(error) = run(&own, &shared) {
                                // Without its workers the engine forwards nothing: who watches it
                                // shall see it end.
                                eprintln!("plutino-engine: a worker failed: {error}");
                                std::process::exit(1);
                            }
                        })?;
                    Ok(worker)
                })
                .collect::<io::Result<Vec<_>>>()
        };
        let outbound = start("outbound", run_outbound)?;
        let inbound = start("inbound", run_inbound)?;
        Ok(DataPath {
            shared,
            outbound,
            inbound,
        })
    }

    /// Reads a device's queues from now on; one of the same name is let go.
    pub fn serve_device(&self, device: Arc<Device>) -> io::Result<()> {
        self.release_device(&device.name);
        for (n, queue) in device.queues.iter().enumerate() {
            sys::set_nonblocking(queue.as_fd(), true)?;
            // Devices of one queue are spread too.
            let worker = &self.outbound[(device.ifindex as usize + n) % self.outbound.len()];
            if let Err(error) = worker.add(Source::Queue(Arc::clone(&device), n)) {
                self.release_device(&device.name);
                return Err(error);
            }
        }
        device
            .attached
            .store(!device.queues.is_empty(), Ordering::Relaxed);
        Ok(())
    }

    pub fn release_device(&self, name: &str) {
        for worker in &self.outbound {
            worker
                .remove(|source| matches!(source, Source::Queue(device, _) if device.name == name));
        }
    }

    /// Sends and receives by a socket from now on, instead of the one of its kind before.
    pub fn serve_socket(&self, kind: SocketKind, fd: OwnedFd) -> io::Result<()> {
        let socket = Arc::new(Socket::new(kind, fd)?);
        self.release_socket(kind);
        self.inbound[kind as usize % self.inbound.len()]
            .add(Source::Socket(Arc::clone(&socket)))?;
        self.shared.sockets.write().expect("no reader panics")[kind as usize - 1] = Some(socket);
        Ok(())
    }

    /// False if there is none.
    pub fn release_socket(&self, kind: SocketKind) -> bool {
        let old = self.shared.sockets.write().expect("no reader panics")[kind as usize - 1].take();
        for worker in &self.inbound {
            worker.remove(|source| matches!(source, Source::Socket(one) if one.kind == kind));
        }
        old.is_some()
    }

    /// One octet by which a NAT remembers an SA; lost where its socket is missing.
    pub fn send_keepalive(&self, sa: &Arc<Sa>) {
        if let Some(socket) = self.shared.socket(SocketKind::of(sa)) {
            let outer = Outer {
                source: sa.config.source,
                destination: sa.config.destination,
                tos: 0,
                hop_limit: None,
                df: true,
            };
            // Whatever hinders it hinders the SA's packets as well, which are counted.
            let _ = socket.send(&Datagram::single(sa, outer, 1), &[0xff]);
        }
    }

    /// Sends a message that no SA seals by the socket for ESP in UDP.
    pub fn send_plain(&self, way: &Plain, octets: &[u8]) -> io::Result<()> {
        let kind = if way.destination.is_ipv4() {
            SocketKind::UdpV4
        } else {
            SocketKind::UdpV6
        };
        let socket = self.shared.socket(kind);
        let missing = || io::Error::from_raw_os_error(libc::ENOTCONN);
        socket.ok_or_else(missing)?.send_plain(way, octets)
    }

    /// Kind and errors of each socket.
    pub fn sockets(&self) -> Vec<(SocketKind, u64)> {
        let sockets = self.shared.sockets.read().expect("no writer panics");
        let each = sockets.iter().flatten();
        each.map(|socket| (socket.kind, socket.errors.load(Ordering::Relaxed)))
            .collect()
    }

    /// The last drops of all workers, the oldest first, and how many were missed since the last call.
    pub fn read_drops(&self) -> (Vec<Dropped>, u64) {
        let rings = self.shared.rings.lock();
        let rings = rings.expect("no holder of the lock panics");
        let (mut all, mut missed) = (Vec::new(), 0);
        for ring in rings.iter() {
            let (drops, more) = ring.read();
            all.extend(drops);
            missed += more;
        }
        all.sort_by_key(|one| one.time);
        (all, missed)
    }

    /// Drops that nobody has read or can read.
    pub fn missed_drops(&self) -> u64 {
        let rings = self.shared.rings.lock();
        let rings = rings.expect("no holder of the lock panics");
        rings.iter().map(|ring| ring.missed()).sum()
    }

    /// Name and version of the library that seals and opens.
    pub fn crypto(&self) -> String {
        crypto::library()
    }
}
