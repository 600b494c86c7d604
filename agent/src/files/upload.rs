//! Sending a large file ahead of the report that names it.

use std::io;

use playhouse_protocol::agent::{AgentFrame, INLINE_BYTES, Node};

use super::{
    Outbox,
    apply::same_content,
    core::Core,
    pending::Due,
    read::{Content, ReadError, Reading},
    report::PATIENT_TRIES,
    stamp::Stamp,
};

/// A file that the node has the bytes of.
#[derive(Debug)]
pub struct Uploaded {
    /// Which.
    pub due: Due,
    /// Under which number; none where the tree has these bytes already and only the mode is another.
    pub transfer: Option<u64>,
    /// What was read.
    pub content: Content,
    /// From what.
    pub stamp: Stamp,
    /// When it was opened.
    pub at: i128,
}

/// How an upload ended.
#[derive(Debug)]
pub enum UploadEnd {
    /// All of it was sent.
    Sent(Uploaded),
    /// The tree has exactly this file; nothing was sent.
    Same,
    /// It changed meanwhile and what was sent is void.
    Changed(Due),
    /// It is no large file any more; nothing was sent.
    Small(Due),
    /// It cannot be read.
    Unreadable(Due, io::Error),
    /// The link is gone.
    Stopped(Due),
}

/// Sends the file's content in pieces, as fast as the outbox takes them.
pub fn upload(core: &Core, due: Due, transfer: u64, outbox: &Outbox) -> UploadEnd {
    let end = |due: Due, error: ReadError, sent: bool| {
        if sent && matches!(error, ReadError::Failed(_)) {
            // A closed outbox means a new stream, on which the number means nothing.
            let _ = outbox.blocking_send(AgentFrame::UploadVoid { transfer });
        }
        match error {
            ReadError::Gone => UploadEnd::Small(due),
            ReadError::Failed(error) => UploadEnd::Unreadable(due, error),
            ReadError::Stopped => UploadEnd::Stopped(due),
        }
    };
    let mut reading = match Reading::open(core, &due.path) {
        Ok(reading) => reading,
        Err(error) => return end(due, error, false),
    };
    let (stamp, at) = (reading.stamp, reading.at);
    if stamp.size <= INLINE_BYTES as u64 {
        return UploadEnd::Small(due);
    }
    let most = core.settings().max_file_bytes;
    if stamp.size > most {
        // The next look leaves it out.
        return UploadEnd::Small(due);
    }
    let known = core.tree().records.get(&due.path).and_then(|record| record.tree.clone());
    if !due.forced && matches!(known, Some(Node::File { size, .. }) if size == stamp.size) {
        // Touched, or another mode: reading it is cheaper than sending it.
        match reading.pieces(|_| !outbox.is_closed()).and_then(|content| reading.rewind().map(|()| content)) {
            Ok(content) if content.steady && same_content(known.as_ref(), &content.node(&stamp)) => {
                let node = content.node(&stamp);
                if known.as_ref() != Some(&node) {
                    return UploadEnd::Sent(Uploaded { due, transfer: None, content, stamp, at });
                }
                core.tree().records.set(&due.path, content.record(&node, stamp, at));
                return UploadEnd::Same;
            }
            Ok(_) => {}
            Err(error) => return end(due, error, false),
        }
    }
    let sent =
        reading.pieces(|piece| outbox.blocking_send(AgentFrame::Upload { transfer, bytes: piece.to_vec() }).is_ok());
    match sent {
        Ok(content) if content.steady || (due.tries >= PATIENT_TRIES && content.size > 0) => {
            UploadEnd::Sent(Uploaded { due, transfer: Some(transfer), content, stamp, at })
        }
        Ok(_) => {
            // As above: a closed outbox forgets the number anyway.
            let _ = outbox.blocking_send(AgentFrame::UploadVoid { transfer });
            UploadEnd::Changed(due)
        }
        Err(error) => end(due, error, true),
    }
}
