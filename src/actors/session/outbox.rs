//! What waits for a client's socket, in order, as it came: it is encoded only when it can be written.

use std::{collections::VecDeque, sync::Arc};

use playhouse_protocol::{
    Chunk, EventId,
    client::{self, ServerMessage},
    text,
};
use uuid::Uuid;

use super::socket::Frame;

/// More output than this is not kept for a socket that takes none, in bytes; the log has it.
const OUTPUT_BYTES: usize = 1024 * 1024;
/// With so many other messages waiting, nothing more is read from the client.
const MANY_MESSAGES: usize = 256;
/// A client that leaves so many other messages is given up: they can't be had again.
const TOO_MANY_MESSAGES: usize = 8192;

/// Something to write.
#[derive(Debug)]
pub enum Item {
    /// Output.
    Event {
        /// Whose.
        process_id: Uuid,
        /// Its generation.
        generation: u64,
        /// It.
        chunk: Arc<Chunk>,
    },
    /// A loss or a status of a process: it comes again with the process's output.
    OfProcess {
        /// Whose.
        process_id: Uuid,
        /// It.
        message: ServerMessage,
        /// It is the last of its process.
        ended: bool,
    },
    /// Anything else that is said once.
    Message(ServerMessage),
    /// Not output at all.
    Frame(Frame),
}

impl Item {
    /// The frame that is written.
    #[must_use]
    pub fn encode(&self, binary: bool) -> Frame {
        match self {
            Self::Event { process_id, generation, chunk } if binary => {
                Frame::Binary(client::output_frame(*process_id, *generation, chunk).into())
            }
            Self::Event { process_id, generation, chunk } => say(&ServerMessage::Output {
                process_id: *process_id,
                id: EventId::new(*generation, chunk.sequence),
                stream: chunk.stream,
                data: text::decode(&chunk.carry, &chunk.bytes, chunk.last),
                timestamp: chunk.at_ms,
            }),
            Self::OfProcess { message, .. } | Self::Message(message) => say(message),
            Self::Frame(frame) => frame.clone(),
        }
    }
}

fn say(message: &ServerMessage) -> Frame {
    match serde_json::to_string(message) {
        Ok(text) => Frame::Text(text),
        Err(error) => {
            // Strings, numbers and ids are always JSON.
            tracing::error!(%error, "a message is no JSON");
            Frame::Text(r#"{"type":"error","code":"internal","detail":"a message could not be written"}"#.to_owned())
        }
    }
}

/// What waits.
#[derive(Debug, Default)]
pub struct Outbox {
    items: VecDeque<Item>,
    output_bytes: usize,
    messages: usize,
}

impl Outbox {
    /// Adds something at the end.
    pub fn push(&mut self, item: Item) {
        match &item {
            Item::Event { chunk, .. } => self.output_bytes += chunk.cost(),
            Item::OfProcess { .. } | Item::Message(_) | Item::Frame(_) => self.messages += 1,
        }
        self.items.push_back(item);
    }

    /// Takes what is written next.
    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        match &item {
            Item::Event { chunk, .. } => self.output_bytes -= chunk.cost(),
            Item::OfProcess { .. } | Item::Message(_) | Item::Frame(_) => self.messages -= 1,
        }
        Some(item)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether too much output waits for a socket that takes none.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.output_bytes > OUTPUT_BYTES
    }

    /// Whether to stop reading from the client for now.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.messages > MANY_MESSAGES
    }

    /// Whether to give the client up.
    #[must_use]
    pub const fn is_hopeless(&self) -> bool {
        self.messages > TOO_MANY_MESSAGES
    }

    /// Drops what comes again when its process is subscribed to again: of one process, or of all.
    pub fn drop_output(&mut self, only: Option<Uuid>) {
        let mut kept = Self::default();
        for item in self.items.drain(..) {
            match &item {
                Item::Event { process_id, .. } | Item::OfProcess { process_id, .. }
                    if only.is_none_or(|only| only == *process_id) => {}
                Item::Event { .. } | Item::OfProcess { .. } | Item::Message(_) | Item::Frame(_) => kept.push(item),
            }
        }
        *self = kept;
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use playhouse_protocol::Stream;

    use super::*;

    fn event(process: u128, sequence: u64, bytes: &[u8], carry: &[u8]) -> Item {
        let (bytes, carry) = (bytes.to_vec(), carry.to_vec());
        let chunk = Chunk { sequence, stream: Stream::Stderr, at_ms: 5, carry, bytes, last: false };
        Item::Event { process_id: Uuid::from_u128(process), generation: 1, chunk: Arc::new(chunk) }
    }

    #[test]
    fn an_event_is_text_or_a_binary_frame() {
        let item = event(1, 7, &[0xa4, b'!', 0xc3], &[0xc3]);
        let expected = r#"{"type":"output","process_id":"00000000-0000-0000-0000-000000000001","id":"1-7","stream":"stderr","data":"ä!","timestamp":5}"#;
        assert_eq!(item.encode(false), Frame::Text(expected.to_owned()));
        let Frame::Binary(frame) = item.encode(true) else { panic!("binary") };
        assert_eq!((frame[0], frame[1], &frame[client::OUTPUT_HEAD_BYTES..]), (1, 2, &[0xa4, b'!', 0xc3][..]));
    }

    #[test]
    fn output_can_be_dropped_and_the_rest_stays_in_order() {
        let mut outbox = Outbox::default();
        let notice = |code: &str| Item::Message(ServerMessage::Notice { code: code.to_owned(), detail: String::new() });
        outbox.push(notice("a"));
        outbox.push(event(1, 1, b"x", b""));
        outbox.push(event(2, 1, b"y", b""));
        outbox.push(notice("b"));
        outbox.drop_output(Some(Uuid::from_u128(1)));
        assert_eq!((outbox.items.len(), outbox.output_bytes, outbox.messages), (3, 65, 2));
        outbox.drop_output(None);
        assert_eq!((outbox.items.len(), outbox.output_bytes), (2, 0));
        assert!(matches!(outbox.pop(), Some(Item::Message(ServerMessage::Notice { code, .. })) if code == "a"));
    }
}
