//! The session and its processes: subscriptions, credit, and what the client asks of them.

use ractor::{ActorRef, ActorStatus, concurrency::oneshot};
use uuid::Uuid;

use super::{
    SessionMessage,
    actor::{Done, Shell},
    subs::Subscribe,
};
use crate::actors::{
    Code, Refused,
    process::{ProcessCommand, ProcessMessage, ProcessRef},
};

/// A process as the session reaches it.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) process: ProcessRef,
    /// Its actor, as far as that is known.
    pub(super) actor: Option<ActorRef<ProcessMessage>>,
}

impl Shell {
    /// Asks a process for something on the caller's behalf; only a refusal is told.
    pub(super) fn command(&mut self, process_id: Uuid, command: ProcessCommand) {
        let (reply, answered) = oneshot();
        let (caller, role) = (self.params.caller.clone(), self.role);
        let message = ProcessMessage::Command { caller, role, command, idempotency: None, reply: reply.into() };
        self.asked.push((process_id, message));
        let me = self.me();
        tokio::spawn(async move {
            let refused = match answered.await {
                Ok(Ok(_)) => return,
                Ok(Err(refused)) => refused,
                Err(_) => Refused::retry("no answer came"),
            };
            me.tell(SessionMessage::Refused { process_id: Some(process_id), refused });
        });
    }

    /// Makes the subscriptions that are due.
    pub(super) fn subscribe(&mut self) {
        for Subscribe { process_id, subscription, from, allowance } in self.subs.due() {
            let Some(owner) = self.owners.get(&process_id) else { continue };
            let (process, session, may_type) = (owner.process.clone(), self.me(), self.may_type());
            self.background(async move {
                let make =
                    |reply| ProcessMessage::Subscribe { session, subscription, from, may_type, allowance, reply };
                let result = process.call(make).await;
                let owner = process.resolve().await.ok();
                Done::Subscribed { process_id, subscription, owner, result }
            });
        }
    }

    /// Sends to a process what needs no order with what starts it.
    pub(super) fn tell_process(&self, process_id: Uuid, message: ProcessMessage) {
        if let Some(actor) = self.owners.get(&process_id).and_then(|owner| owner.actor.as_ref()) {
            // One that is gone is subscribed to again when that is noticed.
            let _ = actor.send_message(message);
        }
    }

    /// Sends what the client asked for, in its order. A process that is passive is started by it.
    pub(super) async fn send_asked(&mut self) {
        for (process_id, message) in std::mem::take(&mut self.asked) {
            let Some(owner) = self.owners.get(&process_id) else { continue };
            if let Err(error) = owner.process.cast(message).await {
                self.refuse(Code::Retry, error.to_string(), Some(process_id));
            }
        }
    }

    /// The socket takes nothing: what waits for it is dropped, and comes again from the log.
    pub(super) fn stall(&mut self) {
        self.outbox.drop_output(None);
        let session_id = self.place.id;
        for process_id in self.subs.stall() {
            self.tell_process(process_id, ProcessMessage::Unsubscribe { session_id });
        }
    }

    /// Tells a process what the socket took, if that is worth a message.
    pub(super) fn credit(&mut self, process_id: Uuid) {
        if self.subs.get(process_id).is_some_and(|sub| sub.window.credit()) {
            self.tell_credit(process_id);
        }
    }

    /// Tells a process how much the session takes, and whether it may type.
    pub(super) fn tell_credit(&mut self, process_id: Uuid) {
        let Some(bytes) = self.subs.get(process_id).map(|sub| sub.window.told()) else { return };
        let message = ProcessMessage::SessionCredit { session_id: self.place.id, bytes, may_type: self.may_type() };
        self.tell_process(process_id, message);
    }

    /// Subscribes anew to processes whose actors have ended.
    pub(super) fn look_after_owners(&mut self) {
        let live: Vec<(Uuid, u64)> = self.subs.live().collect();
        for (process_id, subscription) in live {
            let Some(owner) = self.owners.get_mut(&process_id) else { continue };
            if owner.actor.as_ref().is_some_and(|actor| actor.get_status() > ActorStatus::Upgrading) {
                owner.actor = None;
                self.outbox.drop_output(Some(process_id));
                self.subs.again(process_id, subscription);
            }
        }
    }
}
