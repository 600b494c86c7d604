//! The way out: a port on the sandbox's loopback whose connections go byte for byte to the host's egress proxy.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream, UnixStream},
    sync::Semaphore,
    time::sleep,
};

use crate::log;

/// How many connections there may be at once. More wait in the listener's backlog.
const CONNECTIONS: usize = 256;

/// Each direction's buffer, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// How long to wait before the port is tried again: the loopback may not be up yet, or no descriptor be free.
const RETRY: Duration = Duration::from_millis(100);

/// Relays for ever.
pub async fn relay(port: u16, proxy: PathBuf) {
    let listener = loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => break listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return log::line(format_args!("no egress: port {port} is taken"));
            }
            Err(_) => sleep(RETRY).await,
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let proxy: Arc<PathBuf> = Arc::new(proxy);
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((program, _)) => {
                let proxy = Arc::clone(&proxy);
                tokio::spawn(async move {
                    // Either side's error ends the connection, which is all that the other can be told.
                    let _ = splice(program, &proxy).await;
                    drop(place);
                });
            }
            Err(_) => sleep(RETRY).await,
        }
    }
}

async fn splice(mut program: TcpStream, proxy: &PathBuf) -> io::Result<()> {
    let mut proxy = UnixStream::connect(proxy).await?;
    program.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut program, &mut proxy, BUFFER_BYTES, BUFFER_BYTES).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_each_end_closes_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("egress.sock");
        let proxy = UnixListener::bind(&path).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut program = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let splicing = tokio::spawn(async move { splice(accepted, &path).await });
        let (mut proxy, _) = proxy.accept().await.unwrap();
        program.write_all(b"CONNECT").await.unwrap();
        program.shutdown().await.unwrap();
        let mut asked = String::new();
        proxy.read_to_string(&mut asked).await.unwrap();
        proxy.write_all(b"200").await.unwrap();
        drop(proxy);
        let mut answer = String::new();
        program.read_to_string(&mut answer).await.unwrap();
        assert_eq!((asked.as_str(), answer.as_str()), ("CONNECT", "200"));
        splicing.await.unwrap().unwrap();
    }
}
