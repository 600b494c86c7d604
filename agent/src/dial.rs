//! Reaching the node: connecting, proving, and how long to wait before the next try.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use playhouse_protocol::{
    codec::{self, CodecError},
    handshake::{Challenge, HANDSHAKE_BYTES, Hello, Proof, TokenHash, agent_mac, owner_mac, same_mac},
    host::NODE_SOCKET,
};
use playhouse_quiet::QuietStream;
use rand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::config::Config;

/// How long a challenge is waited for: the host holds a hello while no owner is known.
const CHALLENGE_TIME: Duration = Duration::from_secs(5);

const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// An agent whose sandbox's directory is gone for so long is reached by nobody any more.
const GONE_FOR: Duration = Duration::from_secs(5);

/// A stream that lived this long was a good one: the next wait is short again.
const GOOD_LIFE: Duration = Duration::from_secs(1);

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The socket is not there, or it broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No challenge came.
    #[error("no challenge within {} s", CHALLENGE_TIME.as_secs())]
    Silent,
    /// What came is no challenge.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// It does not know this sandbox's token.
    #[error("the owner could not prove that it knows this sandbox")]
    Impostor,
    /// It owned the sandbox once.
    #[error("the owner commands under epoch {offered}, and {seen} was seen")]
    Stale {
        /// Its epoch.
        offered: u64,
        /// The highest that commanded here.
        seen: u64,
    },
}

/// Everything this agent needs to dial, and what it remembers between dials.
#[derive(Debug)]
pub struct Dialler {
    socket: PathBuf,
    /// The directory that the workspace lies in.
    place: Option<PathBuf>,
    sandbox_id: Uuid,
    key: TokenHash,
    instance: [u8; 16],
    attempt: u64,
    epoch: u64,
    backoff: Backoff,
    gone_since: Option<Instant>,
}

impl Dialler {
    /// Dials for this sandbox.
    #[must_use]
    pub fn new(config: &Config, key: TokenHash) -> Self {
        let instance = rand::rng().random();
        let (socket, sandbox_id) = (config.sockets.join(NODE_SOCKET), config.sandbox_id);
        let place = config.workspace.parent().map(Path::to_owned);
        Self {
            socket,
            place,
            sandbox_id,
            key,
            instance,
            attempt: 0,
            epoch: 0,
            backoff: Backoff::default(),
            gone_since: None,
        }
    }

    /// The next try, after its wait: the stream, and the epoch under which its owner commands.
    pub fn dial(&mut self) -> impl Future<Output = Result<(QuietStream, u64), DialError>> + use<> {
        let wait = self.backoff.next(Instant::now(), &mut rand::rng());
        self.attempt += 1;
        let hello = Hello {
            sandbox_id: self.sandbox_id,
            instance: self.instance,
            attempt: self.attempt,
            nonce: rand::rng().random(),
        };
        let (socket, key, seen) = (self.socket.clone(), self.key, self.epoch);
        async move {
            tokio::time::sleep(wait).await;
            timeout(CHALLENGE_TIME, prove(&socket, &key, &hello, seen)).await.map_err(|_| DialError::Silent)?
        }
    }

    /// Whether the sandbox's directory is removed: no host knows it any more. In a sandbox that is the root, which stays;
    /// without one it goes with the host's data.
    pub fn is_abandoned(&mut self) -> bool {
        let is_gone = self.place.as_ref().is_some_and(|place| !place.exists());
        let since = self.gone_since.take().filter(|_| is_gone).unwrap_or_else(Instant::now);
        self.gone_since = is_gone.then_some(since);
        is_gone && since.elapsed() >= GONE_FOR
    }

    /// A dial gave a stream of this epoch.
    pub fn connected(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
        self.backoff.connected(Instant::now());
    }
}

async fn prove(socket: &Path, key: &TokenHash, hello: &Hello, seen: u64) -> Result<(QuietStream, u64), DialError> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&codec::encode_prefixed(hello)?).await?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let mut body = vec![0; codec::prefixed_length(prefix, HANDSHAKE_BYTES)?];
    stream.read_exact(&mut body).await?;
    let challenge: Challenge = codec::decode(&body)?;
    if !same_mac(&challenge.mac, &owner_mac(key, hello, challenge.epoch, &challenge.nonce)) {
        return Err(DialError::Impostor);
    }
    if challenge.epoch < seen {
        return Err(DialError::Stale { offered: challenge.epoch, seen });
    }
    let mac = agent_mac(key, hello, challenge.epoch, &challenge.nonce);
    stream.write_all(&codec::encode_prefixed(&Proof { mac })?).await?;
    Ok((QuietStream::new(stream)?, challenge.epoch))
}

/// Doubling waits with jitter, short again after a stream that lived.
#[derive(Debug, Default)]
struct Backoff {
    wait: Duration,
    connected: Option<Instant>,
}

impl Backoff {
    fn next(&mut self, now: Instant, rng: &mut impl Rng) -> Duration {
        if self.connected.take().is_some_and(|since| now.duration_since(since) >= GOOD_LIFE) {
            self.wait = FIRST_WAIT;
        }
        let wait = self.wait.max(FIRST_WAIT);
        self.wait = (wait * 2).min(LONGEST_WAIT);
        // From half of it to all of it: agents that lost their node together don't come back together.
        wait.mul_f64(rng.random_range(0.5..=1.0)).max(FIRST_WAIT)
    }

    fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_within_bounds_and_shrink_after_a_good_stream() {
        let mut backoff = Backoff::default();
        let mut rng = rand::rng();
        assert_eq!(backoff.next(Instant::now(), &mut rng), FIRST_WAIT);
        let waits: Vec<_> = std::iter::repeat_with(|| backoff.next(Instant::now(), &mut rng)).take(20).collect();
        assert!(waits.iter().all(|wait| (FIRST_WAIT..=LONGEST_WAIT).contains(wait)));
        assert!(waits[19] >= LONGEST_WAIT / 2);
        backoff.connected(Instant::now());
        assert!(backoff.next(Instant::now(), &mut rng) >= LONGEST_WAIT / 2, "a stream that broke at once");
        backoff.connected(Instant::now());
        tokio::time::advance(GOOD_LIFE).await;
        assert_eq!(backoff.next(Instant::now(), &mut rng), FIRST_WAIT);
    }
}
