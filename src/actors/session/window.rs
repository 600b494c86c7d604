//! How much of one process's output may be on its way to a client.
//!
//! Pure. Figures are absolute: bytes since the subscription began, as the process counts them.

use std::collections::VecDeque;

use playhouse_protocol::stream::CHUNK_BYTES;

/// With `flow=ack`: how much may be sent beyond the last acknowledgement, in bytes.
pub const ACK_WINDOW_BYTES: u64 = 100 * 1024;
/// Without it: how much may wait for the socket, in bytes.
pub const SOCKET_WINDOW_BYTES: u64 = 64 * 1024;
/// What a cut character before it may add to an event.
const CARRY_BYTES: u64 = 3;
/// The most that one event counts: bytes that are no UTF-8 become three times as many in text.
const EVENT_BYTES: u64 = 3 * (CHUNK_BYTES as u64 + CARRY_BYTES);
const _: () = assert!(EVENT_BYTES <= ACK_WINDOW_BYTES);
/// Events closer together than this share a mark: an acknowledgement between them counts for what is before both.
const MARK_BYTES: u64 = 1024;

/// One process's window.
#[derive(Debug)]
pub struct Window {
    acks: bool,
    /// Handed to the socket.
    sent: u64,
    /// Taken by the socket, or acknowledged.
    taken: u64,
    told: u64,
    /// Sequences, and how much had been sent with each; only for acknowledgements.
    marks: VecDeque<(u64, u64)>,
}

impl Window {
    /// A window that nothing was sent through.
    #[must_use]
    pub const fn new(acks: bool) -> Self {
        let mut window = Self { acks, sent: 0, taken: 0, told: 0, marks: VecDeque::new() };
        window.told = window.size();
        window
    }

    /// The window of a subscription that goes on where this one stopped: what was handed over and not acknowledged is
    /// still on its way.
    #[must_use]
    pub fn again(&self) -> Self {
        let mut window = Self::new(self.acks);
        if self.acks {
            window.sent = self.owed();
            window.marks = self.marks.iter().map(|(sequence, sent)| (*sequence, sent - self.taken)).collect();
        }
        window
    }

    /// How much is on its way, in bytes.
    #[must_use]
    pub const fn owed(&self) -> u64 {
        self.sent - self.taken
    }

    /// How wide it is: the credit to begin with.
    #[must_use]
    pub const fn size(&self) -> u64 {
        if self.acks { ACK_WINDOW_BYTES } else { SOCKET_WINDOW_BYTES }
    }

    /// The event with this number and so many bytes was handed to the socket.
    pub fn send(&mut self, sequence: u64, bytes: u64) {
        self.sent += bytes;
        if !self.acks {
            return;
        }
        let begin = self.marks.iter().rev().nth(1).map_or(self.taken, |(_, sent)| *sent);
        match self.marks.back_mut() {
            Some(last) if self.sent - begin <= MARK_BYTES => *last = (sequence, self.sent),
            _ => self.marks.push_back((sequence, self.sent)),
        }
    }

    /// The socket took everything it was handed.
    pub fn flushed(&mut self) {
        if !self.acks {
            self.taken = self.sent;
        }
    }

    /// The client has shown everything up to this number. One that it was not sent is no acknowledgement: how much is on
    /// its way to a client is never its own claim.
    pub fn acknowledge(&mut self, sequence: u64) {
        if self.marks.back().is_none_or(|(last, _)| sequence > *last) {
            return;
        }
        while let Some((_, sent)) = self.marks.front().filter(|(marked, _)| *marked <= sequence) {
            self.taken = *sent;
            self.marks.pop_front();
        }
    }

    /// Raises the credit that the process is told, once that is worth a message, or once everything is acknowledged and
    /// an event could be too long for what is left: else nobody would ever move again.
    pub fn credit(&mut self) -> bool {
        let credit = self.taken + self.size();
        let stuck = self.acks && self.owed() == 0 && self.told - self.sent < EVENT_BYTES && credit > self.told;
        let worth = stuck || credit >= self.told + self.size() / 4;
        if worth {
            self.told = credit;
        }
        worth
    }

    /// The credit to tell the process.
    #[must_use]
    pub const fn told(&self) -> u64 {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_socket_gives_credit_when_it_took_everything() {
        let mut window = Window::new(false);
        window.send(1, 40_000);
        assert!(!window.credit());
        window.flushed();
        assert!(window.credit() && !window.credit());
        assert_eq!(window.told(), SOCKET_WINDOW_BYTES + 40_000);
    }

    #[test]
    fn a_window_that_begins_again_owes_what_was_not_acknowledged() {
        let mut window = Window::new(true);
        for sequence in 1..=10 {
            window.send(sequence, 10_000);
        }
        window.acknowledge(3);
        let mut again = window.again();
        assert_eq!((again.owed(), again.told()), (70_000, ACK_WINDOW_BYTES));
        again.send(11, 30_000);
        again.acknowledge(10);
        assert!(again.credit());
        assert_eq!((again.owed(), again.told()), (30_000, ACK_WINDOW_BYTES + 70_000));
        let mut socket = Window::new(false);
        socket.send(1, 10_000);
        assert_eq!(socket.again().owed(), 0, "it is begun again when the socket took everything");
    }

    proptest! {
        #[test]
        fn acknowledgements_never_free_more_than_they_name(events in prop::collection::vec((1..3000_u64, any::<bool>()), 1..300)) {
            let mut window = Window::new(true);
            let (mut sent, mut acked) = (vec![0], 0);
            for (number, (bytes, ack)) in (1_u64..).zip(events) {
                let total = sent[sent.len() - 1] + bytes;
                sent.push(total);
                window.send(number, bytes);
                if ack {
                    acked = number - number % 3;
                    window.acknowledge(acked);
                }
                let named = sent[usize::try_from(acked).unwrap()];
                prop_assert!(window.taken <= named);
                prop_assert!(window.marks.len() as u64 <= 2 * (total - window.taken) / MARK_BYTES + 2);
            }
            let before = window.taken;
            window.acknowledge(sent.len() as u64);
            prop_assert_eq!(window.taken, before, "this one was not sent");
            window.acknowledge(sent.len() as u64 - 1);
            prop_assert_eq!(window.taken, sent[sent.len() - 1]);
        }

        #[test]
        fn an_event_of_any_length_goes_out_once_all_before_it_is_acknowledged(
            events in prop::collection::vec(1..=EVENT_BYTES, 1..50),
        ) {
            let mut window = Window::new(true);
            for (number, bytes) in (1_u64..).zip(events) {
                if window.sent + bytes > window.told() {
                    window.acknowledge(number - 1);
                    window.credit();
                }
                prop_assert!(window.sent + bytes <= window.told(), "{number}: {bytes} beyond {window:?}");
                window.send(number, bytes);
            }
        }

        #[test]
        fn little_output_acknowledged_at_once_always_has_room(count in 1..500_u64) {
            let mut window = Window::new(true);
            for number in 1..=count {
                window.send(number, 700);
                window.acknowledge(number);
                window.credit();
                prop_assert!(window.told - number * 700 >= 32 * 1024 + MARK_BYTES);
            }
        }
    }
}
