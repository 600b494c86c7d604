//! Input on its way to the agent, and its answers on their way back.

use playhouse_protocol::{agent::InputOutcome, client::WRITER_CHARS};
use tokio::time::Instant;

use super::{
    ProcessAnswer,
    inputs::{Answered, Offered, Writer},
    rows::Asked,
    shell::Shell,
};
use crate::actors::{
    Code, Refused,
    session::{SessionMessage, SessionRef},
};

/// How long a request waits for the agent to take its input.
const TAKEN_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Who typed.
#[derive(Debug)]
pub(super) enum Typist {
    /// On a socket, with this number if the client numbers.
    Session(SessionRef, Option<u64>),
    /// By a request, which waits until then.
    Request(Asked, Instant),
}

fn full() -> Refused {
    Refused::new(Code::InputFull, "more than 1 MiB waits that the program has not read: send this number again first")
}

/// What a writer is told that comes back to a number it has given up.
const PASSED: &str =
    "seq: this number was refused, and a later one of its writer came more than 10 s after: type it under a new number";

impl Shell {
    /// Something typed on a socket.
    pub(super) fn session_input(&mut self, session: SessionRef, writer: String, seq: Option<u64>, bytes: Vec<u8>) {
        let seq = seq.filter(|seq| *seq > 0);
        let writer = seq.map_or(Writer::Unnumbered, |seq| Writer::Numbered(writer, seq));
        self.typed(writer, bytes, false, Typist::Session(session, seq));
    }

    /// Something typed by a request.
    pub(super) fn request_input(
        &mut self,
        asked: Asked,
        numbered: Option<(String, u64)>,
        once: Option<[u8; 32]>,
        bytes: Vec<u8>,
        eof: bool,
    ) {
        let writer = match (numbered.filter(|(_, seq)| *seq > 0), once) {
            (Some((writer, _)), _) if writer.chars().count() > WRITER_CHARS => {
                let refused = Refused::new(Code::BodyInvalid, "writer: at most 64 characters");
                return self.answer(asked, Err(refused));
            }
            (Some((writer, seq)), _) => Writer::Numbered(writer, seq),
            (None, Some(hash)) => Writer::Once(hash),
            (None, None) => Writer::Unnumbered,
        };
        self.typed(writer, bytes, eof, Typist::Request(asked, Instant::now() + TAKEN_WITHIN));
    }

    fn typed(&mut self, writer: Writer, bytes: Vec<u8>, eof: bool, typist: Typist) {
        if self.life.as_ref().is_none_or(|life| life.is_over()) {
            return self.inputs_answered(typist, InputOutcome::Ended);
        }
        match self.inputs.offer(writer, bytes, eof, typist, self.now_ms()) {
            (Offered::Known, Some(typist)) => self.inputs_answered(typist, InputOutcome::Taken),
            (Offered::Full, Some(typist)) => self.inputs_answered(typist, InputOutcome::Full),
            (Offered::Passed, Some(typist)) => match typist {
                Typist::Session(..) => self.refuse_typist(typist, Refused::new(Code::MessageInvalid, PASSED)),
                Typist::Request(..) => self.refuse_typist(typist, Refused::new(Code::BodyInvalid, PASSED)),
            },
            (Offered::Known | Offered::Full | Offered::Passed | Offered::Waits, _) => self.flush_to_agent(),
        }
    }

    /// Tells whoever typed what became of it.
    pub(super) fn answer_inputs(&mut self, answered: Vec<Answered<Typist>>) {
        for Answered { to, outcome } in answered {
            self.inputs_answered(to, outcome);
        }
    }

    fn inputs_answered(&mut self, to: Typist, outcome: InputOutcome) {
        let refused = match outcome {
            InputOutcome::Taken => return self.input_taken(to),
            InputOutcome::Full => full(),
            InputOutcome::Ended if self.life.is_none() => Code::ProcessNotFound.into(),
            InputOutcome::Ended => Code::ProcessEnded.into(),
        };
        self.refuse_typist(to, refused);
    }

    fn input_taken(&mut self, to: Typist) {
        match to {
            Typist::Session(session, Some(seq)) => {
                session.tell(SessionMessage::InputAck { process_id: self.id, seq });
            }
            // Nobody waits for what has no number.
            Typist::Session(_, None) => {}
            Typist::Request(asked, _) => self.answer(asked, Ok(ProcessAnswer::Done)),
        }
    }

    fn refuse_typist(&mut self, to: Typist, refused: Refused) {
        match to {
            Typist::Session(session, _) => {
                session.tell(SessionMessage::Refused { process_id: Some(self.id), refused });
            }
            Typist::Request(asked, _) => self.answer(asked, Err(refused)),
        }
    }

    /// Requests that have waited too long for the agent are told to retry.
    pub(super) fn expire_inputs(&mut self) {
        let now = Instant::now();
        let due = |typist: &Typist| matches!(typist, Typist::Request(_, until) if *until <= now);
        for typist in self.inputs.expire(due, self.now_ms()) {
            if let Typist::Request(asked, _) = typist {
                self.answer(asked, Err(Refused::retry("the sandbox did not take the input in time")));
            }
        }
    }
}
