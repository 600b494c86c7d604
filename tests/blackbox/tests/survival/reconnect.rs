//! A viewer that comes back after every break, as a page does.

use std::time::Duration;

use playhouse_blackbox::{Model, Options, Stream, Workspace, model::Tape, shape, wait};
use uuid::Uuid;

/// A server is back within this: its start on a busy machine, and taking over what runs.
const COMES_BACK: Duration = Duration::from_secs(60);

/// A viewer of one sandbox.
#[derive(Debug)]
pub(crate) struct Viewer {
    ws: Workspace,
    sandbox: Uuid,
    options: Options,
    stream: Option<Stream>,
    model: Option<Model>,
    /// How often it had to come back.
    pub(crate) comebacks: u32,
}

impl Viewer {
    pub(crate) fn new(ws: &Workspace, sandbox: Uuid, options: Options) -> Self {
        let model = Some(Model::new(sandbox));
        Self { ws: ws.clone(), sandbox, options, stream: None, model, comebacks: 0 }
    }

    async fn token(&self) -> Option<String> {
        let path = format!("/api/sandboxes/{}/token", self.sandbox);
        let answer = self.ws.client.try_send(self.ws.client.request(reqwest::Method::POST, &path)).await.ok()?;
        (answer.status == 200).then(|| shape::text(&answer.json(), "stream_token"))
    }

    async fn connected(&mut self) -> &mut Stream {
        if self.stream.is_none() {
            self.comebacks += 1;
            let mut model = self.model.take().expect("either a stream or its model");
            let deadline = tokio::time::Instant::now() + COMES_BACK;
            loop {
                let why = match self.token().await {
                    None => "no token".to_owned(),
                    Some(token) => {
                        match Stream::resume(&self.ws.client, self.sandbox, &token, self.options.clone(), model.clone())
                            .await
                        {
                            Ok(stream) => {
                                self.stream = Some(stream);
                                break;
                            }
                            Err((kept, why)) => {
                                model = kept;
                                why
                            }
                        }
                    }
                };
                assert!(tokio::time::Instant::now() < deadline, "it does not come back: {why}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.stream.as_mut().expect("connected")
    }

    /// Receives until `done`, coming back after every break.
    pub(crate) async fn until(&mut self, what: &str, mut done: impl FnMut(&Model) -> bool) {
        let deadline = tokio::time::Instant::now() + COMES_BACK + wait::PATIENCE;
        loop {
            assert!(tokio::time::Instant::now() < deadline, "waited in vain for: {what}");
            let stream = self.connected().await;
            if done(&stream.model) {
                return;
            }
            match stream.next_within(Duration::from_millis(500)).await {
                Some(Ok(_)) | None => {}
                Some(Err(closed)) => {
                    // Only what a dying or returning node may say; anything else breaks the contract.
                    assert!([1000, 1001, 1005, 1006, 1011, 1012].contains(&closed.code), "{closed:?}");
                    self.model = self.stream.take().map(Stream::break_off);
                }
            }
        }
    }

    /// Receives so many more events of a process.
    pub(crate) async fn more_events(&mut self, process: Uuid, count: u64) {
        let before = self.known().and_then(|model| model.tapes.get(&process)).map_or(0, |tape| tape.events);
        self.until("more output", |model| model.tapes.get(&process).is_some_and(|tape| tape.events >= before + count))
            .await;
    }

    /// Receives until a process has ended, and answers what came of it.
    pub(crate) async fn ended(&mut self, process: Uuid) -> Tape {
        self.until("the process to end", |model| model.tapes.get(&process).is_some_and(|tape| tape.end.is_some()))
            .await;
        self.known().expect("a model").tape(process).clone()
    }

    /// Breaks its socket, as a closed laptop does.
    pub(crate) fn break_off(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.model = Some(stream.break_off());
        }
    }

    fn known(&self) -> Option<&Model> {
        self.stream.as_ref().map(|stream| &stream.model).or(self.model.as_ref())
    }
}
