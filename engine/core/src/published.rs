//! How a snapshot of the tables is put in force, and how workers come to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::grace::Grace;
use crate::sys::Waker;
use crate::tables::Tables;

/// The current snapshot with its generation number.
#[derive(Default)]
pub struct Published {
    generation: AtomicU64,
    current: Mutex<Arc<Tables>>,
    wakers: Mutex<Vec<Arc<Waker>>>,
    pub grace: Grace,
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

    /// The snapshot in force, taken anew if another was published since, and whether it is another
    /// than that of `generation`, which follows.
    pub fn refresh<'a>(
        &self,
        tables: &'a mut Option<Arc<Tables>>,
        generation: &mut u64,
    ) -> (&'a Tables, bool) {
        let before = *generation;
        if tables.is_none() || before != self.generation() {
            let (current, fresh) = self.load();
            *tables = Some(fresh);
            *generation = current;
        }
        let tables = tables.get_or_insert_with(Arc::default);
        (tables, *generation != before)
    }

    /// The current snapshot with its generation.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_is_held_gives_way_to_the_next() {
        let published = Published::default();
        let (mut tables, mut generation) = (None, 0);
        published.refresh(&mut tables, &mut generation);
        let mut next = Tables::default();
        next.acquire = true;
        published.publish(next);
        let (found, changed) = published.refresh(&mut tables, &mut generation);
        assert!(found.acquire && changed);
        let (found, changed) = published.refresh(&mut tables, &mut generation);
        assert!(found.acquire && !changed);
    }
}
