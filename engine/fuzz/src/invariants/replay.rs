//! The window lets in what a plain set lets in: no number twice, none older than the window.

use std::collections::BTreeSet;

use plutino_engine_core::replay::ReplayWindow;

/// Octets of one step.
const STEP: usize = 3;

/// The set that the window stands for.
pub struct PlainSet {
    window: u64,
    seen: BTreeSet<u64>,
    last: u64,
}

impl PlainSet {
    pub fn new(window: u32, last: u64) -> PlainSet {
        PlainSet {
            window: u64::from(window),
            seen: BTreeSet::new(),
            last,
        }
    }

    /// True if the number is new and not too old; it is remembered then.
    pub fn receive(&mut self, number: u64) -> bool {
        if self.window == 0 {
            self.last = self.last.max(number);
            return true;
        }
        let too_old = number <= self.last && self.last - number >= self.window;
        if too_old || !self.seen.insert(number) {
            return false;
        }
        self.last = self.last.max(number);
        // What is too old is forgotten, so that the set stays small.
        while self
            .seen
            .first()
            .is_some_and(|first| self.last - first >= self.window)
        {
            self.seen.pop_first();
        }
        true
    }

    pub fn last(&self) -> u64 {
        self.last
    }
}

pub fn check(octets: &[u8]) {
    let [a, b, esn, start, steps @ ..] = octets else {
        return;
    };
    let size = (u32::from(u16::from_be_bytes([*a, *b])) % 4097).max(1);
    let esn = esn & 1 == 1;
    // Before, at and after the wrap of the low half.
    let start = match (esn, start % 3) {
        (true, 0) => (1 << 32) - 3 * u64::from(size) / 2,
        (true, 1) => 7 << 32,
        _ => 0,
    };
    let mut window = ReplayWindow::new(size, esn);
    window.restore(start, &[]);
    let mut set = PlainSet::new(size, start);
    for step in steps.chunks_exact(STEP) {
        let reach = u64::from(u16::from_be_bytes([step[1], step[2]]));
        let number = match step[0] % 4 {
            0 => set.last() + 1,
            1 => set.last() + reach % 70,
            2 => set.last() + reach % (2 * u64::from(size)),
            _ => set.last().saturating_sub(reach % (u64::from(size) + 9)),
        };
        let number = number.max(1);
        // Further back than the window, the low half alone means a number of the next round.
        if esn && set.last().saturating_sub(number) >= u64::from(size) {
            continue;
        }
        let found = window.check(number as u32);
        let fits = set.receive(number);
        assert_eq!(found.is_ok(), fits, "number {number}, window {size}");
        if let Ok(found) = found {
            assert_eq!(found, number);
            window.commit(found);
        }
        assert_eq!(window.seq(), set.last());
    }
    let mut copy = ReplayWindow::new(size, esn);
    copy.restore(window.seq(), &window.bitmap());
    assert_eq!(copy.bitmap(), window.bitmap());
}
