//! The anti-replay window (RFC 4303, 3.4.3 and appendix A; method of RFC 6479).
//!
//! Numbers are 64 bits throughout; on the wire travel their low 32. A ring of 64-bit blocks holds
//! one block more than the window needs, so that moving ahead clears whole blocks and shifts none.

use crate::stats::DropReason;

const BLOCK: u64 = 64;

/// Which sequence numbers of an SA were received.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    window: u32,
    esn: bool,
    /// Highest number received and authenticated.
    last: u64,
    /// Bit `n % 64` of block `n / 64 % blocks.len()` stands for number n; a power of two of blocks.
    blocks: Box<[u64]>,
}

impl ReplayWindow {
    /// Of `window` packets; 0 turns the check off.
    pub fn new(window: u32, esn: bool) -> Self {
        let blocks = (u64::from(window).div_ceil(BLOCK) + 1).next_power_of_two() as usize;
        ReplayWindow {
            window,
            esn,
            last: 0,
            blocks: vec![0; blocks].into_boxed_slice(),
        }
    }

    /// Takes over the state of `xfrm_replay_state_esn`: highest number and its ring of words, in
    /// which number n has bit `(n - 1) % window` (`net/xfrm/xfrm_replay.c`). A bitmap that is
    /// shorter than the window counts as empty in what is missing.
    pub fn restore(&mut self, seq: u64, bitmap: &[u32]) {
        self.last = seq;
        self.blocks.fill(0);
        for age in 0..u64::from(self.window).min(seq) {
            let position = self.kernel_position(seq - age);
            if bitmap
                .get(position / 32)
                .is_some_and(|word| word >> (position % 32) & 1 == 1)
            {
                self.set(seq - age);
            }
        }
    }

    /// Another size, or another reading of the low half, with what was seen so far.
    pub fn resize(&mut self, window: u32, esn: bool) {
        if (window, esn) == (self.window, self.esn) {
            return;
        }
        let old = self.clone();
        *self = ReplayWindow::new(window, esn);
        self.last = old.last;
        for age in 0..u64::from(window).min(old.last) {
            let number = old.last - age;
            // What the old window does not tell must count as seen.
            if age >= u64::from(old.window) || old.is_set(number) {
                self.set(number);
            }
        }
    }

    pub fn seq(&self) -> u64 {
        self.last
    }

    pub fn window(&self) -> u32 {
        self.window
    }

    /// The state of `xfrm_replay_state`: bit n stands for number `seq - n`.
    pub fn restore_legacy(&mut self, seq: u32, bitmap: u32) {
        self.last = u64::from(seq);
        self.blocks.fill(0);
        for age in 0..u64::from(self.window.min(32)).min(self.last) {
            if bitmap >> age & 1 == 1 {
                self.set(self.last - age);
            }
        }
    }

    /// The same, to be told.
    pub fn legacy_bitmap(&self) -> u32 {
        let ages = 0..u64::from(self.window.min(32)).min(self.last);
        ages.filter(|age| self.is_set(self.last - age))
            .fold(0, |bitmap, age| bitmap | 1 << age)
    }

    /// The ring in the kernel's layout.
    pub fn bitmap(&self) -> Vec<u32> {
        let mut words = vec![0u32; self.window.div_ceil(32) as usize];
        for age in 0..u64::from(self.window).min(self.last) {
            let number = self.last - age;
            if self.is_set(number) {
                let position = self.kernel_position(number);
                words[position / 32] |= 1 << (position % 32);
            }
        }
        words
    }

    /// The whole number of a packet whose low 32 bits are `low`, if the window lets it in.
    ///
    /// A window refuses number 0, which no sender uses. A number found by guessing the high
    /// half (RFC 4303, A2.2) is right only if the packet is authentic.
    pub fn check(&self, low: u32) -> Result<u64, DropReason> {
        let number = if self.esn {
            self.extend(low)?
        } else {
            u64::from(low)
        };
        if self.window == 0 {
            return Ok(number);
        }
        if number == 0 {
            return Err(DropReason::InStateSeqError);
        }
        if number > self.last {
            return Ok(number);
        }
        if self.last - number >= u64::from(self.window) || self.is_set(number) {
            return Err(DropReason::InStateSeqError);
        }
        Ok(number)
    }

    /// Remembers an authentic packet's number, which `check` let in.
    pub fn commit(&mut self, number: u64) {
        // Without a window nothing is remembered, and nothing told (`xfrm_replay_advance`).
        if self.window == 0 {
            return;
        }
        if number > self.last {
            let block_of = |n: u64| n / BLOCK;
            let ahead = block_of(number) - block_of(self.last);
            for step in 1..=ahead.min(self.blocks.len() as u64) {
                let index = self.index(block_of(self.last) + step);
                self.blocks[index] = 0;
            }
            self.last = number;
        }
        self.set(number);
    }

    /// Whether a number that was refused is 0, which the kernel counts neither as too old nor as
    /// one that came before.
    pub fn is_zero(&self, low: u32) -> bool {
        low == 0 && (!self.esn || self.last >> 32 == 0)
    }

    /// True for a number that is older than the window, against one that came before.
    pub fn too_old(&self, low: u32) -> bool {
        let number = if self.esn {
            self.extend(low).unwrap_or(0)
        } else {
            u64::from(low)
        };
        number <= self.last && self.last - number >= u64::from(self.window)
    }

    /// RFC 4303, A2.2: the high half from the low one and the window's place.
    fn extend(&self, low: u32) -> Result<u64, DropReason> {
        let (high_half, low_half) = (self.last >> 32, self.last as u32);
        let window = self.window.max(1);
        let high = if low_half >= window - 1 {
            // The window lies in one subspace of 32 bits.
            high_half + u64::from(low < low_half - (window - 1))
        } else if low >= low_half.wrapping_sub(window - 1) {
            // It reaches back into the subspace before, and so does the number.
            high_half
                .checked_sub(1)
                .ok_or(DropReason::InStateSeqError)?
        } else {
            high_half
        };
        if high > u64::from(u32::MAX) {
            return Err(DropReason::InStateSeqError);
        }
        Ok(high << 32 | u64::from(low))
    }

    fn kernel_position(&self, number: u64) -> usize {
        (((number - 1) & u64::from(u32::MAX)) % u64::from(self.window.max(1))) as usize
    }

    fn index(&self, block: u64) -> usize {
        (block & (self.blocks.len() as u64 - 1)) as usize
    }

    fn is_set(&self, number: u64) -> bool {
        self.blocks[self.index(number / BLOCK)] >> (number % BLOCK) & 1 == 1
    }

    fn set(&mut self, number: u64) {
        let index = self.index(number / BLOCK);
        self.blocks[index] |= 1 << (number % BLOCK);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn receive(window: &mut ReplayWindow, number: u64) -> bool {
        match window.check(number as u32) {
            Ok(found) if found == number => {
                window.commit(found);
                true
            }
            _ => false,
        }
    }

    #[test]
    fn the_cases_of_rfc_6479() {
        let mut window = ReplayWindow::new(64, false);
        for (number, fits) in [
            (0, false),
            (1, true),
            (1, false),
            (9, true),
            (8, true),
            (7, true),
            (7, false),
            (64, true),
            (65, true),
            (2, true),
            (1, false),
            (200, true),
            (136, false),
            (137, true),
            (137, false),
            (200, false),
            (5000, true),
            (4936, false),
            (4937, true),
            (4999, true),
        ] {
            assert_eq!(receive(&mut window, number), fits, "number {number}");
        }
    }

    #[test]
    fn random_order_agrees_with_a_set() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for (size, esn, start) in [
            (32, false, 1),
            (64, true, 1),
            (1000, true, (1 << 32) - 2000),
            (4096, true, 5 << 32),
            (1, false, 1),
        ] {
            let mut window = ReplayWindow::new(size, esn);
            window.restore(start, &[]);
            let (mut seen, mut last) = (BTreeSet::new(), start);
            for _ in 0..20_000 {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                let number = (last + (state >> 33) % 90)
                    .saturating_sub((state >> 45) % 80)
                    .max(1);
                let fits =
                    number > last || last - number < u64::from(size) && !seen.contains(&number);
                assert_eq!(
                    receive(&mut window, number),
                    fits,
                    "{number} after {last} of {size}"
                );
                if fits {
                    seen.insert(number);
                    last = last.max(number);
                }
            }
            assert!(
                start >= 1 << 32 || !esn || size != 1000 || last > 1 << 32,
                "no wrap was met"
            );
        }
    }

    #[test]
    fn a_number_from_before_the_wrap_is_taken_back() {
        let mut window = ReplayWindow::new(128, true);
        window.restore((1 << 32) + 10, &[]);
        assert_eq!(window.check(0xffff_fff0), Ok(0xffff_fff0));
        assert_eq!(window.check(11), Ok((1 << 32) + 11));
        assert_eq!(window.check(0x8000_0000), Ok((1 << 32) + 0x8000_0000));
    }

    #[test]
    fn a_first_number_far_ahead_is_no_number_of_the_past() {
        let window = ReplayWindow::new(64, true);
        assert_eq!(window.check(0xffff_fff0), Err(DropReason::InStateSeqError));
        assert_eq!(window.check(5), Ok(5));
    }

    #[test]
    fn state_goes_out_and_comes_back() {
        for size in [32, 64, 1024] {
            let mut window = ReplayWindow::new(size, true);
            for number in [
                (1 << 32) - 3,
                (1 << 32) - 1,
                1 << 32,
                (1 << 32) + 5,
                (1 << 32) + 31,
            ] {
                window.commit(number);
            }
            let mut copy = ReplayWindow::new(size, true);
            copy.restore(window.seq(), &window.bitmap());
            assert_eq!(copy.bitmap(), window.bitmap());
            for low in (0..40).chain(0xffff_ff00..=0xffff_ffff) {
                assert_eq!(copy.check(low), window.check(low), "number {low} of {size}");
            }
        }
    }

    #[test]
    fn another_size_lets_nothing_in_twice() {
        let mut window = ReplayWindow::new(64, true);
        for number in [1, 2, 90, 95] {
            window.commit(number);
        }
        window.resize(128, true);
        for (number, fits) in [
            (95, false),
            (94, true),
            (90, false),
            (20, false),
            (96, true),
        ] {
            assert_eq!(window.check(number).is_ok(), fits, "number {number}");
        }
    }

    #[test]
    fn the_kernels_layout() {
        let mut window = ReplayWindow::new(32, false);
        for number in [1, 2, 33] {
            window.commit(number);
        }
        // Number 33 has taken bit 0 over from number 1.
        assert_eq!(window.bitmap(), vec![0b11]);
    }

    #[test]
    fn without_a_window_all_is_let_in() {
        let mut window = ReplayWindow::new(0, false);
        window.commit(9);
        assert_eq!(window.check(9), Ok(9));
        assert_eq!(window.check(1), Ok(1));
        assert!(window.bitmap().is_empty());
    }
}
