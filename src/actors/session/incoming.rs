//! What a client says: bounded, then parsed, then taken for what it is.

use playhouse_protocol::{
    EventId,
    agent::PtySize,
    client::{self, ClientMessage, MESSAGE_BYTES},
};
use uuid::Uuid;

use super::{close, socket::Frame};

/// A client's word.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Where to go on with one process; `None` is a malformed id.
    ResumeOne(Uuid, Option<EventId>),
    /// Where to go on with all.
    ResumeAll {
        /// Each process, and its cursor where that is well-formed.
        named: Vec<(Uuid, Option<EventId>)>,
        /// Whether what is no process's id was named too.
        malformed: bool,
    },
    /// Something typed.
    Input {
        /// For whom.
        process_id: Uuid,
        /// Its number.
        seq: Option<u64>,
        /// What.
        bytes: Vec<u8>,
    },
    /// A terminal's size.
    Resize(Uuid, PtySize),
    /// End it.
    Cancel(Uuid),
    /// Everything up to here is shown.
    Ack(Uuid, EventId),
    /// A sign of life.
    Nothing,
    /// The client closes.
    Close,
    /// Nothing more can be read: the code to close with, and why.
    Unreadable(u16, &'static str),
    /// A resume that names no process as an id is written.
    ResumeMalformed,
    /// None of these; why.
    Invalid(String),
}

const TOO_LARGE: Incoming = Incoming::Unreadable(close::TOO_LARGE, "a message may be 1 MiB");

/// Reads a client's frame. Binary frames are input, where the client has chosen them.
#[must_use]
pub fn read(frame: Frame, binary: bool) -> Incoming {
    match frame {
        Frame::Text(text) if text.len() > MESSAGE_BYTES => TOO_LARGE,
        Frame::Binary(bytes) if bytes.len() > MESSAGE_BYTES => TOO_LARGE,
        Frame::Text(text) => read_text(&text),
        Frame::Binary(_) if !binary => {
            Incoming::Invalid(format!("binary frames need the subprotocol {}", client::BINARY_SUBPROTOCOL))
        }
        Frame::Binary(bytes) => match client::input_frame(&bytes) {
            Some(input) => Incoming::Input {
                process_id: input.process_id,
                seq: (input.seq > 0).then_some(input.seq),
                bytes: input.bytes.to_vec(),
            },
            None => Incoming::Invalid("the binary frame is no input frame".to_owned()),
        },
        Frame::Ping(_) | Frame::Pong(_) => Incoming::Nothing,
        Frame::Close(..) => Incoming::Close,
        Frame::Unreadable(code, why) => Incoming::Unreadable(code, why),
    }
}

fn read_text(text: &str) -> Incoming {
    // The library would take an array of a message's fields for it.
    if !text.trim_start().starts_with('{') {
        return Incoming::Invalid("a message is a JSON object".to_owned());
    }
    let message = match serde_json::from_str::<ClientMessage>(text) {
        Ok(message) => message,
        Err(error) => {
            let value = serde_json::from_str::<serde_json::Value>(text).ok();
            let malformed_id = value.is_some_and(|value| value["type"] == "resume" && names_no_process(&value));
            return if malformed_id { Incoming::ResumeMalformed } else { Incoming::Invalid(error.to_string()) };
        }
    };
    let id = |text: &String| text.parse::<EventId>().ok();
    match message {
        ClientMessage::Resume { process_id: Some(process), last_seen_id: Some(seen), processes: None } => {
            Incoming::ResumeOne(process, id(&seen))
        }
        ClientMessage::Resume { process_id: None, last_seen_id: None, processes: Some(processes) } => {
            let mut malformed = false;
            let named = processes.iter().filter_map(|(process, seen)| {
                let process = Uuid::try_parse(process).inspect_err(|_| malformed = true).ok()?;
                Some((process, id(seen)))
            });
            Incoming::ResumeAll { named: named.collect(), malformed }
        }
        ClientMessage::Resume { .. } => {
            Incoming::Invalid("resume names process_id and last_seen_id, or processes".to_owned())
        }
        ClientMessage::Input { process_id, data, seq } => {
            Incoming::Input { process_id, seq: seq.filter(|seq| *seq > 0), bytes: data.into_bytes() }
        }
        ClientMessage::Resize { process_id, cols, rows } => Incoming::Resize(process_id, PtySize { cols, rows }),
        ClientMessage::Cancel { process_id } => Incoming::Cancel(process_id),
        ClientMessage::Ack { process_id, id } => Incoming::Ack(process_id, id),
    }
}

/// Whether a resume that did not parse has a process id that is none.
fn names_no_process(value: &serde_json::Value) -> bool {
    value["process_id"].as_str().is_some_and(|text| Uuid::try_parse(text).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: &str = "00000000-0000-0000-0000-000000000001";

    fn text(text: String) -> Incoming {
        read(Frame::Text(text), false)
    }

    #[test]
    fn each_message_is_read_and_nothing_else() {
        let p = Uuid::from_u128(1);
        let id = EventId::new(0, 412);
        assert_eq!(
            text(format!(r#"{{"type":"resume","process_id":"{P}","last_seen_id":"0-412"}}"#)),
            Incoming::ResumeOne(p, Some(id))
        );
        assert_eq!(
            text(format!(r#"{{"type":"resume","processes":{{"{P}":"0-x"}}}}"#)),
            Incoming::ResumeAll { named: vec![(p, None)], malformed: false }
        );
        assert_eq!(
            text(format!(r#"{{"type":"resume","processes":{{"nope":"0-1","{P}":"0-412"}}}}"#)),
            Incoming::ResumeAll { named: vec![(p, Some(id))], malformed: true }
        );
        assert_eq!(
            text(r#"{"type":"resume","process_id":"nope","last_seen_id":"0-1"}"#.to_owned()),
            Incoming::ResumeMalformed
        );
        assert_eq!(
            text(format!(r#"{{"type":"input","process_id":"{P}","data":"x\n","seq":17}}"#)),
            Incoming::Input { process_id: p, seq: Some(17), bytes: b"x\n".to_vec() }
        );
        assert_eq!(text(format!(r#"{{"type":"ack","process_id":"{P}","id":"0-412"}}"#)), Incoming::Ack(p, id));
        assert_eq!(text(format!(r#"{{"type":"cancel","process_id":"{P}"}}"#)), Incoming::Cancel(p));
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"type":"hello"}"#,
            r#"["cancel","00000000-0000-0000-0000-000000000001"]"#,
            r#"{"type":"resume"}"#,
            r#"{"type":"input","data":"x"}"#,
            r#"{"type":"ack","process_id":"00000000-0000-0000-0000-000000000001","id":"x"}"#,
            r#"{"type":"cancel","process_id":"00000000-0000-0000-0000-000000000001","more":1}"#,
        ] {
            assert!(matches!(text(bad.to_owned()), Incoming::Invalid(_)), "{bad}");
        }
    }

    #[test]
    fn binary_input_needs_the_subprotocol_and_a_whole_head() {
        let mut frame = vec![2];
        frame.extend_from_slice(Uuid::from_u128(1).as_bytes());
        frame.extend_from_slice(&9_u64.to_be_bytes());
        frame.extend_from_slice(b"ls\n");
        let input = Incoming::Input { process_id: Uuid::from_u128(1), seq: Some(9), bytes: b"ls\n".to_vec() };
        assert_eq!(read(Frame::Binary(frame.clone().into()), true), input);
        assert!(matches!(read(Frame::Binary(frame.clone().into()), false), Incoming::Invalid(_)));
        frame.truncate(20);
        assert!(matches!(read(Frame::Binary(frame.into()), true), Incoming::Invalid(_)));
        assert_eq!(read(Frame::Text("x".repeat(MESSAGE_BYTES + 1)), true), TOO_LARGE);
    }
}
