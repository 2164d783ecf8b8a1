//! Where the record of a session is: an open table of 32 bits an entry, each the place of a record and, in the bits that this
//! leaves, a part of the session's hash. So a look reads one line of memory here, almost always, and no record but its own.
//!
//! It grows by a quarter, so that little of it stands empty; what it takes is told by [`SLACK`].

/// Nothing has been here.
const EMPTY: u32 = u32::MAX;
/// Something was, and what comes behind it is still to be looked for.
const GONE: u32 = u32::MAX - 1;
/// Of so many slots, so many may be used.
const SLACK: (usize, usize) = (5, 4);
/// The fewest slots of an index that has any.
const FEWEST: usize = 16;

/// The places of records, found by the hash of what they are about. Places are numbers without gaps from zero.
#[derive(Default)]
pub(super) struct Index {
    slots: Box<[u32]>,
    /// How many are not [`EMPTY`].
    used: usize,
}

impl Index {
    /// The place of the record with this hash that `is_it`.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.slot_of(hash, is_it).map(|slot| self.slots[slot] & self.mask())
    }

    /// Reads where a look for this hash begins, and says what is there, which means nothing by itself: whoever looks for many
    /// has the processor fetch that for all of them first.
    pub(super) fn touch(&self, hash: u64) -> u32 {
        self.slots.get(self.home(hash)).copied().unwrap_or(EMPTY)
    }

    /// Adds a place, the next of all: there are as many as its number before it. `hash_of` tells the hash of each.
    pub(super) fn add(&mut self, place: u32, hash_of: impl Fn(u32) -> u64) {
        let (of, most) = SLACK;
        if (self.used + 1) * of > self.slots.len() * most {
            // Room for a quarter more than there are, the gone ones left out.
            self.rebuild(place as usize + place as usize / 4, place, &hash_of);
        }
        self.put(hash_of(place), place);
    }

    /// Notes that the record with this hash has moved.
    pub(super) fn moved(&mut self, hash: u64, from: u32, to: u32) {
        if let Some(slot) = self.slot_of(hash, |place| place == from) {
            self.slots[slot] = self.part_of(hash) | to;
        }
    }

    /// Forgets the record with this hash that `is_it`, and says where it was.
    pub(super) fn remove(&mut self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let slot = self.slot_of(hash, is_it)?;
        let place = self.slots[slot] & self.mask();
        // Nothing was put behind it, if nothing is there.
        if self.slots[self.after(slot)] == EMPTY {
            self.slots[slot] = EMPTY;
            self.used -= 1;
        } else {
            self.slots[slot] = GONE;
        }
        Some(place)
    }

    /// Takes no more room than `count` places need.
    pub(super) fn shrink(&mut self, count: u32, hash_of: impl Fn(u32) -> u64) {
        match count {
            0 => *self = Self::default(),
            _ => self.rebuild(count as usize, count, hash_of),
        }
    }

    /// How many slots there are.
    #[cfg(test)]
    #[cfg(not(feature = "shuttle"))]
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Begins anew with places below `count`, and room for `room`.
    fn rebuild(&mut self, room: usize, count: u32, hash_of: impl Fn(u32) -> u64) {
        let (of, most) = SLACK;
        self.slots = vec![EMPTY; (room * of).div_ceil(most) + FEWEST].into();
        self.used = 0;
        (0..count).for_each(|place| self.put(hash_of(place), place));
    }

    fn put(&mut self, hash: u64, place: u32) {
        let mut slot = self.home(hash);
        while self.slots[slot] < GONE {
            slot = self.after(slot);
        }
        self.used += usize::from(self.slots[slot] == EMPTY);
        self.slots[slot] = self.part_of(hash) | place;
    }

    fn slot_of(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let (part, mask) = (self.part_of(hash), self.mask());
        let mut slot = self.home(hash);
        // There is an empty one: a fifth of them are.
        loop {
            let entry = self.slots[slot];
            if entry & !mask == part && entry < GONE && is_it(entry & mask) {
                return Some(slot);
            }
            if entry == EMPTY {
                return None;
            }
            slot = self.after(slot);
        }
    }

    /// Where to begin: the upper half of the hash says how far along.
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }

    /// The bits that a place needs. A place with all of them, or all but the last, there is none of: there are fewer places than
    /// slots.
    fn mask(&self) -> u32 {
        u32::MAX >> (self.slots.len() as u32).leading_zeros()
    }

    /// What stands beside a place: of the lower half of the hash, what there is room for.
    fn part_of(&self, hash: u64) -> u32 {
        hash as u32 & !self.mask()
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Records that are found by what they are, as the table's shards keep them.
    #[derive(Default)]
    struct Kept {
        records: Vec<u64>,
        index: Index,
    }

    impl Kept {
        fn find(&self, hash: u64) -> Option<u32> {
            self.index.find(hash, |place| self.records[place as usize] == hash)
        }

        fn add(&mut self, hash: u64) {
            self.records.push(hash);
            self.index.add(self.records.len() as u32 - 1, |place| self.records[place as usize]);
        }

        fn remove(&mut self, hash: u64) {
            let Some(place) = self.index.remove(hash, |place| self.records[place as usize] == hash) else {
                return;
            };
            let last = self.records.len() as u32 - 1;
            if place != last {
                self.index.moved(self.records[last as usize], last, place);
            }
            self.records.swap_remove(place as usize);
        }
    }

    proptest! {
        /// Whatever comes and goes, what is there is found and what is not is not, though hashes are alike in all that is kept
        /// of them.
        #[test]
        fn finds_what_is_there(steps in proptest::collection::vec((0_u8..8, 0_u64..200, 0_u64..3), 0..2_000)) {
            let mut kept = Kept::default();
            for (what, number, kind) in steps {
                let hash = match kind {
                    0 => number,
                    1 => number << 20 | number << 44,
                    _ => u64::MAX - number,
                };
                match what {
                    0..5 if kept.find(hash).is_none() => kept.add(hash),
                    5..7 => kept.remove(hash),
                    7 => {
                        let Kept { records, index } = &mut kept;
                        index.shrink(records.len() as u32, |place| records[place as usize]);
                    }
                    _ => {}
                }
                prop_assert!(kept.index.used * 5 <= kept.index.slots.len() * 4);
            }
            for (place, hash) in kept.records.iter().enumerate() {
                prop_assert_eq!(kept.find(*hash), Some(place as u32));
            }
            for hash in 200..400 {
                prop_assert_eq!(kept.find(hash), None);
                prop_assert_eq!(kept.find(hash << 40), None);
            }
        }
    }

    #[test]
    fn takes_little_more_than_it_needs() {
        let mut kept = Kept::default();
        for number in 0..100_000_u64 {
            kept.add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let most = (number + 1) as usize * 8 / 5 + 2 * FEWEST;
            assert!(kept.index.slots.len() <= most, "{} slots for {number}", kept.index.slots.len());
        }
    }

    /// A session that comes and goes again and again does not make it grow.
    #[test]
    fn what_has_gone_leaves_no_room_taken() {
        let mut kept = Kept::default();
        (0..100).for_each(|number| kept.add(number << 32));
        let slots = kept.index.slots.len();
        for number in 100_u64..100_000 {
            kept.add(number << 32);
            kept.remove(number << 32);
        }
        assert!(kept.index.slots.len() <= slots + slots / 2, "{} of {slots}", kept.index.slots.len());
    }
}
