//! The proxy itself, on a sandbox's `egress.sock`: HTTP/1 CONNECT, and requests in absolute form (RFC 9112, 3.2.2).

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{Method, Request, Response, StatusCode, Uri, body::Incoming, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixListener, UnixStream, lookup_host},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use uuid::Uuid;

use super::{
    Refusal, Rules, Target,
    forward::forward,
    is_public,
    lookups::{BusyError, Lookups},
    rules::{HTTP, HTTPS},
};
use crate::host::sockets;

/// Connections of one sandbox at once.
const CONNECTIONS: usize = 128;
/// How long a request's head may take, and how long a name may take to be resolved and dialled.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const DIAL_LIMIT: Duration = Duration::from_secs(15);
/// A connection on which nothing moves for this long is closed.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(300);
/// The largest head of a request, in bytes. hyper takes no less than 8192.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;
/// How many of a name's addresses are tried.
const ADDRESSES: usize = 4;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the proxy answers.
pub(super) type Answer = Response<BoxBody<Bytes, BoxError>>;

/// A sandbox's way out.
struct Way {
    rules: Rules,
    lookups: Lookups,
}

/// Serves a sandbox for ever.
pub async fn serve(listener: UnixListener, sandbox_id: Uuid, users: Range<u32>, rules: Rules) {
    let way = Arc::new(Way { rules, lookups: Lookups::default() });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if sockets::peer(&stream).is_ok_and(|peer| users.contains(&peer.user)) => {
                tokio::spawn(connection(stream, Arc::clone(&way), place));
            }
            Ok(_) => tracing::warn!(%sandbox_id, "refused another user's connection to the egress proxy"),
            Err(error) => {
                tracing::warn!(%sandbox_id, %error, "the egress proxy could not accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, way: Arc<Way>, place: OwnedSemaphorePermit) {
    let place = Arc::new(place);
    let service = service_fn(move |request| answer(request, Arc::clone(&way), Arc::clone(&place)));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        // One request a connection: after it the stream is a tunnel or closed.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a request to the egress proxy broke off");
    }
}

async fn answer(
    request: Request<Incoming>,
    way: Arc<Way>,
    place: Arc<OwnedSemaphorePermit>,
) -> Result<Answer, Infallible> {
    let tunnels = request.method() == Method::CONNECT;
    let Some((authority, open)) = destination(request.uri(), tunnels) else {
        let words = "This is a proxy: it takes CONNECT, and requests for http:// addresses.\n".to_owned();
        return Ok(refuse(StatusCode::BAD_REQUEST, words));
    };
    let target = match way.rules.judge(&authority, open) {
        Ok(target) => target,
        Err(refusal) => return Ok(refuse(status(&refusal), format!("{refusal}\n"))),
    };
    let dialled = match timeout(DIAL_LIMIT, dial(target, &way.lookups)).await {
        Ok(Ok(dialled)) => dialled,
        Ok(Err(Dialled::Refused(refusal))) => return Ok(refuse(status(&refusal), format!("{refusal}\n"))),
        Ok(Err(Dialled::Busy(busy))) => {
            return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, format!("{authority}: {busy}\n")));
        }
        Ok(Err(Dialled::Failed(error))) => {
            return Ok(refuse(StatusCode::BAD_GATEWAY, format!("{authority}: {error}\n")));
        }
        Err(_) => return Ok(refuse(StatusCode::GATEWAY_TIMEOUT, format!("{authority} did not answer\n"))),
    };
    if !tunnels {
        let answer = forward(request, dialled, place).await;
        return Ok(answer.unwrap_or_else(|error| refuse(StatusCode::BAD_GATEWAY, format!("{authority}: {error}\n"))));
    }
    tokio::spawn(async move {
        // The place is taken until the tunnel ends.
        let _place = place;
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => tunnel(upgraded, dialled).await,
            Err(error) => tracing::debug!(%error, "a tunnel was not taken up"),
        }
    });
    Ok(Response::new(whole(Bytes::new())))
}

/// Where a request goes, `HOST:PORT`, and the port that is open for what it wants.
fn destination(uri: &Uri, tunnels: bool) -> Option<(String, u16)> {
    let authority = uri.authority()?;
    match uri.scheme_str() {
        None if tunnels => Some((authority.to_string(), HTTPS)),
        Some("http") if !tunnels => {
            Some((format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(HTTP)), HTTP))
        }
        Some(_) | None => None,
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Malformed => StatusCode::BAD_REQUEST,
        Refusal::NotListed(_) | Refusal::Port(_) | Refusal::NotPublic(_) => StatusCode::FORBIDDEN,
    }
}

fn whole(bytes: Bytes) -> BoxBody<Bytes, BoxError> {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn refuse(status: StatusCode, words: String) -> Answer {
    let mut response = Response::new(whole(Bytes::from(words)));
    *response.status_mut() = status;
    response
}

enum Dialled {
    Refused(Refusal),
    Busy(BusyError),
    Failed(io::Error),
}

async fn dial(target: Target, lookups: &Lookups) -> Result<TcpStream, Dialled> {
    let addresses: Vec<SocketAddr> = match target {
        Target::Address(address) => vec![address],
        Target::Name(name, port) => {
            let asked = name.clone();
            let look_up = async move { Ok(lookup_host((asked, port)).await?.collect::<Vec<_>>()) };
            let found = lookups.run(look_up).await.map_err(Dialled::Busy)?.map_err(Dialled::Failed)?;
            // After resolving: whoever runs the name's DNS decides what it says.
            let public: Vec<_> = found.into_iter().filter(|address| is_public(address.ip())).take(ADDRESSES).collect();
            if public.is_empty() {
                return Err(Dialled::Refused(Refusal::NotPublic(name)));
            }
            public
        }
    };
    let mut last = io::Error::other("no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A tunnel that can't be made quick is still a tunnel.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(Dialled::Failed(last))
}

async fn tunnel(inside: Upgraded, outside: TcpStream) {
    let moved = Arc::new(AtomicU64::new(0));
    let (inside_read, inside_write) = tokio::io::split(TokioIo::new(inside));
    let (outside_read, outside_write) = outside.into_split();
    // One that breaks ends both; one that ends leaves the other its time.
    let both = async {
        tokio::try_join!(
            pump(inside_read, outside_write, Arc::clone(&moved)),
            pump(outside_read, inside_write, Arc::clone(&moved))
        )
    };
    let idle = async {
        let mut before = u64::MAX;
        loop {
            let now = moved.load(Ordering::Relaxed);
            if now == before {
                break;
            }
            before = now;
            tokio::time::sleep(IDLE_LIMIT).await;
        }
    };
    tokio::select! {
        _ = both => {}
        () = idle => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: Arc<AtomicU64>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        moved.fetch_add(length as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use playhouse_protocol::host::EgressRule;
    use tokio::net::TcpListener;

    use super::*;

    /// Sends `request` to a proxy whose one rule names `address`, then `after` once the head of the answer is there;
    /// returns all that came.
    async fn talk(address: Option<SocketAddr>, request: &str, after: &[u8]) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("egress.sock");
        let listener = UnixListener::bind(&path).expect("bound");
        let rule = EgressRule { name: "registry.test".into(), address: address.map(|address| address.to_string()) };
        let me = rustix::process::geteuid().as_raw();
        let proxy = tokio::spawn(serve(listener, Uuid::nil(), me..me + 1, Rules::new(&[rule]).expect("rules")));
        let mut stream = UnixStream::connect(&path).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut said = Vec::new();
        while !said.ends_with(b"\r\n\r\n") {
            let mut byte = [0; 1];
            // A request that is too large is cut off before all of it was read, which resets the stream.
            if !stream.read(&mut byte).await.is_ok_and(|length| length > 0) {
                break;
            }
            said.push(byte[0]);
        }
        if !after.is_empty() {
            stream.write_all(after).await.expect("written");
            stream.shutdown().await.expect("shut down");
        }
        let ended = stream.read_to_end(&mut said).await;
        assert!(after.is_empty() || ended.is_ok(), "{ended:?}");
        proxy.abort();
        String::from_utf8_lossy(&said).into_owned()
    }

    #[tokio::test]
    async fn a_tunnel_carries_both_ways_and_ends_when_both_ends_do() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = server.local_addr().expect("an address");
        let echo = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.expect("accepted");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.expect("read");
            stream.write_all(&all).await.expect("written");
        });
        let said = talk(Some(address), "CONNECT registry.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"ping").await;
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        assert!(said.ends_with("\r\n\r\nping"), "{said}");
        echo.await.expect("the server ends");
    }

    #[tokio::test]
    async fn a_request_for_http_is_forwarded_without_what_is_meant_for_the_proxy() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = server.local_addr().expect("an address");
        let index = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.expect("accepted");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\nbody") {
                head.push(stream.read_u8().await.expect("the request"));
            }
            stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\r\nhi",
                )
                .await
                .expect("written");
            String::from_utf8(head).expect("ASCII")
        });
        let request = "POST http://registry.test/simple/?q=1 HTTP/1.1\r\nHost: elsewhere\r\nProxy-Authorization: x\r\n\
                       Connection: X-Mine\r\nX-Mine: 1\r\nX-Kept: 1\r\nContent-Length: 4\r\n\r\nbody";
        let said = talk(Some(address), request, b"").await;
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("\r\n\r\nhi"), "{said}");
        assert!(!said.contains("hop"), "{said}");
        let asked = index.await.expect("the server ends").to_lowercase();
        assert!(asked.starts_with("post /simple/?q=1 http/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: registry.test\r\n") && asked.contains("x-kept: 1\r\n"), "{asked}");
        assert!(!asked.contains("proxy-") && !asked.contains("x-mine") && !asked.contains("elsewhere"), "{asked}");
    }

    #[tokio::test]
    async fn everything_else_is_refused_in_words() {
        for (request, status) in [
            ("GET http://other.test/ HTTP/1.1\r\nHost: registry.test\r\n\r\n", "403"),
            ("GET http://registry.test:22/ HTTP/1.1\r\nHost: registry.test\r\n\r\n", "403"),
            ("GET https://registry.test/ HTTP/1.1\r\nHost: registry.test\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: registry.test\r\n\r\n", "400"),
            ("CONNECT other.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", "403"),
            ("CONNECT registry.test:22 HTTP/1.1\r\nHost: x\r\n\r\n", "403"),
            ("CONNECT 169.254.169.254:443 HTTP/1.1\r\nHost: x\r\n\r\n", "403"),
        ] {
            let said = talk(None, request, b"").await;
            assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{request} {said}");
        }
        let huge = format!("CONNECT registry.test:443 HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(40_000));
        assert!(!talk(None, &huge, b"").await.contains("200"));
    }
}
