//! Grace periods, as RCU has them: when all that was sealed by older tables has been sent.
//!
//! A worker may be stopped between sealing a packet and sending it. Who deletes an SA that packets
//! leave by has the peer delete its own next, and what reaches the peer after that is lost. So such a
//! deletion is answered when no worker holds a packet of the SA any more.

use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::published::Published;

/// A worker that takes longer is not waited for. A batch takes less than a thousandth of a second, but
/// where others have the processor, a worker may get it late.
pub const LONGEST: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_micros(20);
const IDLE: u64 = u64::MAX;

/// The workers that send.
#[derive(Default)]
pub struct Grace(Mutex<Vec<Arc<Passage>>>);

/// The generation of the oldest tables that a worker may have packets of; `IDLE` if it has none.
pub struct Passage(AtomicU64);

impl Grace {
    /// One more worker.
    pub fn join(&self) -> Arc<Passage> {
        let passage = Arc::new(Passage(AtomicU64::new(IDLE)));
        let mut all = self.0.lock().expect("no holder of the lock panics");
        all.push(Arc::clone(&passage));
        passage
    }

    /// Until no worker has packets of tables before `generation`, or `LONGEST` is over.
    pub fn wait(&self, generation: u64) {
        // A worker that has not entered before this sees the tables that were published before.
        fence(Ordering::SeqCst);
        let all = self.0.lock().expect("no holder of the lock panics");
        let mut began = None;
        for passage in all.iter() {
            while passage.0.load(Ordering::Acquire) < generation {
                if began.get_or_insert_with(Instant::now).elapsed() > LONGEST {
                    return;
                }
                thread::sleep(PAUSE);
            }
        }
    }
}

impl Passage {
    /// Nothing that was sealed is left, and what is sealed from now on is by the tables in force or
    /// by later ones.
    pub fn enter(&self, published: &Published) {
        self.0.store(published.generation(), Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Nothing that was sealed is left, and what is sealed from now on is by tables of a generation
    /// or by later ones.
    pub fn advance(&self, generation: u64) {
        self.0.store(generation, Ordering::Release);
    }

    /// Nothing that was sealed is left, and nothing is sealed before the next `enter`.
    pub fn leave(&self) {
        self.0.store(IDLE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Tables;

    #[test]
    fn who_is_idle_is_not_waited_for() {
        let published = Published::default();
        let passage = published.grace.join();
        published.publish(Tables::default());
        let began = Instant::now();
        published.grace.wait(published.generation());
        passage.enter(&published);
        published.grace.wait(published.generation());
        passage.leave();
        published.publish(Tables::default());
        published.grace.wait(published.generation());
        assert!(began.elapsed() < LONGEST);
    }

    #[test]
    fn who_has_packets_of_older_tables_is_waited_for_but_not_forever() {
        let published = Published::default();
        let passage = published.grace.join();
        passage.enter(&published);
        published.publish(Tables::default());
        let began = Instant::now();
        published.grace.wait(published.generation());
        assert!(began.elapsed() >= LONGEST);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| published.grace.wait(published.generation()));
            passage.enter(&published);
            waiting.join().expect("it ends");
        });
        let began = Instant::now();
        published.grace.wait(published.generation());
        assert!(began.elapsed() < LONGEST);
    }
}
