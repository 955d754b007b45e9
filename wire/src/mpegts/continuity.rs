//! Which packets are missing, from their counters alone.

use std::collections::BTreeMap;

use super::packets::{Fields, packet_pid};
use super::recent::Recent;
use super::{PACKET_BYTES, PID_NULL, SYNC_BYTE};

const PIDS: usize = 1 << 13;
/// Of a PID that has not come yet; a counter has four bits.
const UNSEEN: u8 = 0xff;
/// The last packets of so many PIDs are remembered: a stream has few, noise has all.
const REMEMBERED_PIDS_MAX: usize = 32;

/// Follows the continuity counter of each PID. Four bits count the packets: of a longer gap only the remainder is seen, so
/// what it counts is the least that was lost.
#[derive(Debug)]
pub struct Continuity {
    last: Box<[u8]>,
    recent: BTreeMap<u16, Recent>,
    lost_by_pid: BTreeMap<u16, u64>,
    lost: u64,
    duplicates: u64,
}

impl Default for Continuity {
    fn default() -> Self {
        Self {
            last: vec![UNSEEN; PIDS].into_boxed_slice(),
            recent: BTreeMap::new(),
            lost_by_pid: BTreeMap::new(),
            lost: 0,
            duplicates: 0,
        }
    }
}

impl Continuity {
    /// Looks at all packets of a datagram, which begins with one.
    pub fn follow(&mut self, datagram: &[u8]) {
        let (packets, _) = datagram.as_chunks::<PACKET_BYTES>();
        for packet in packets {
            self.packet(packet);
        }
    }

    fn packet(&mut self, packet: &[u8; PACKET_BYTES]) {
        let has_error = packet[1] & 0x80 != 0;
        let pid = packet_pid(packet);
        if packet[0] != SYNC_BYTE || has_error || pid == PID_NULL {
            return;
        }
        let Some(fields) = Fields::of(packet) else {
            return;
        };
        let counter = packet[3] & 0x0f;
        let last = self.last[usize::from(pid)];
        // Without a payload the counter stands still, unless it says that it jumps.
        if fields.payload.is_empty() && !fields.discontinuity {
            return;
        }
        let is_known = last != UNSEEN && !fields.discontinuity;
        let missing = u64::from(counter.wrapping_sub(last.wrapping_add(1)) & 0x0f);
        let recent = self.recent.get(&pid);
        let has_come = || recent.is_some_and(|recent| recent.has_come(last, packet));
        if is_known && (counter == last || has_come()) {
            self.duplicates += 1;
            return;
        }
        self.last[usize::from(pid)] = counter;
        if fields.discontinuity
            && let Some(recent) = self.recent.get_mut(&pid)
        {
            recent.clear();
        }
        self.remember(pid, packet);
        if is_known && missing > 0 {
            self.lost += missing;
            *self.lost_by_pid.entry(pid).or_default() += missing;
        }
    }

    fn remember(&mut self, pid: u16, packet: &[u8; PACKET_BYTES]) {
        if self.recent.len() < REMEMBERED_PIDS_MAX || self.recent.contains_key(&pid) {
            self.recent.entry(pid).or_default().push(packet);
        }
    }

    /// Packets lost, of all PIDs.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The same for each PID that lost any.
    #[must_use]
    pub fn lost_by_pid(&self) -> &BTreeMap<u16, u64> {
        &self.lost_by_pid
    }

    /// Packets that came twice.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::super::discontinuity;
    use super::*;

    fn packet(pid: u16, counter: u8) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        let [hi, lo] = pid.to_be_bytes();
        packet[..4].copy_from_slice(&[SYNC_BYTE, hi, lo, 0x10 | counter]);
        packet
    }

    #[test]
    fn gaps_are_counted_for_each_pid() {
        let mut seen = Continuity::default();
        for counter in [14, 15, 0, 1, 4] {
            seen.follow(&[packet(0x100, counter), packet(0x101, counter)].concat());
        }
        seen.follow(&packet(0x101, 5));
        seen.follow(&packet(0x101, 5));
        seen.follow(&packet(PID_NULL, 9));
        assert_eq!((seen.lost(), seen.duplicates()), (4, 1));
        assert_eq!(
            seen.lost_by_pid().iter().collect::<Vec<_>>(),
            [(&0x100, &2), (&0x101, &2)]
        );
    }

    #[test]
    fn a_datagram_that_comes_twice_is_no_loss() {
        let mut seen = Continuity::default();
        let numbered = |number: u8| {
            let mut packet = packet(0x100, number & 0x0f);
            packet[100] = number + 1;
            packet
        };
        let datagrams =
            [0, 7, 14].map(|first| (first..first + 7).map(numbered).collect::<Vec<_>>());
        for at in [0, 0, 1, 0, 1, 2] {
            seen.follow(&datagrams[at].concat());
        }
        assert_eq!((seen.lost(), seen.duplicates()), (0, 21));
        // The counter is one that was there, and the packet is another.
        seen.follow(&numbered(18 + 16));
        assert_eq!((seen.lost(), seen.duplicates()), (13, 21));
    }

    #[test]
    fn a_table_that_is_lost_has_not_come_twice() {
        let mut seen = Continuity::default();
        for counter in (0..40).filter(|counter| *counter != 30) {
            seen.follow(&packet(0x1000, counter & 0x0f));
        }
        assert_eq!((seen.lost(), seen.duplicates()), (1, 0));
    }

    #[test]
    fn an_announced_jump_is_no_loss() {
        let mut seen = Continuity::default();
        seen.follow(&packet(0x100, 3));
        seen.follow(&discontinuity(0x100, 12));
        seen.follow(&packet(0x100, 12));
        assert_eq!(seen.lost(), 0);
        // What comes after it may be what came before.
        let again = [12, 13, 14].map(|number| {
            let mut packet = packet(0x100, number);
            packet[100] = number;
            packet
        });
        for _ in 0..2 {
            seen.follow(&discontinuity(0x100, 12));
            seen.follow(&again.concat());
        }
        assert_eq!((seen.lost(), seen.duplicates()), (0, 0));
    }
}
