//! Operators' commands: they ask the running server, and open the stores themselves only when none runs.

use std::{fmt::Write as _, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request as HttpRequest, StatusCode, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::Instant};

use crate::{
    actors::Code,
    config::{LoginArgs, OutputFormat, Settings, TokenArgs},
    control::{self, Reply, Request},
    server::{Failure, parts},
    store::{Metadata, metadata::OpenError},
};

/// How long a server that has the store but does not answer yet is waited for.
const SERVER_WITHIN: Duration = Duration::from_secs(15);
/// How often it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long the store is tried for at a time, between asking.
const STORE_WITHIN: Duration = Duration::from_millis(1);
/// How long a node's admin listener may take to answer.
const ADMIN_WITHIN: Duration = Duration::from_secs(10);
/// The longest answer of an admin listener that is read, in bytes.
const ADMIN_BYTES: usize = 16 * 1024 * 1024;

/// `token create`: what is printed.
///
/// # Errors
/// When it can't be made.
pub async fn create_token(settings: &Settings, arguments: TokenArgs) -> Result<String, Failure> {
    let request = Request::Token {
        user: arguments.user,
        org: arguments.org,
        tier: arguments.tier.map(|tier| tier.as_str().to_owned()),
        ttl_seconds: arguments.ttl.as_secs(),
    };
    match ask(settings, request).await? {
        Reply::Token { token } => Ok(print(settings, json!({ "token": token }), token)),
        other => Err(other.into()),
    }
}

/// `login`: what is printed.
///
/// # Errors
/// When it can't be made.
pub async fn login(settings: &Settings, arguments: LoginArgs) -> Result<String, Failure> {
    match ask(settings, Request::Login { user: arguments.user, org: arguments.org }).await? {
        Reply::Login { login_url } => Ok(print(settings, json!({ "login_url": login_url }), login_url)),
        other => Err(other.into()),
    }
}

/// `migrate`: what is printed.
///
/// # Errors
/// When the store can't be brought to this program's schema.
pub async fn migrate(settings: &Settings) -> Result<String, Failure> {
    let data_dir = parts::data_dir(settings)?;
    let until = Instant::now() + SERVER_WITHIN;
    let schema = loop {
        if let Some(reply) = running(&data_dir, &Request::Schema).await? {
            match reply {
                Reply::Schema { schema } => break schema,
                other => return Err(other.into()),
            }
        }
        match Metadata::migrate(&data_dir.join("metadata")).await {
            Ok(schema) => break schema,
            Err(OpenError::Locked) if Instant::now() < until => tokio::time::sleep(ASK_AGAIN).await,
            Err(error @ OpenError::Schema { .. }) => return Err(Failure::lacking(error.to_string())),
            Err(error) => return Err(Failure::failed(error.to_string())),
        }
    };
    Ok(print(settings, json!({ "schema": schema }), format!("The metadata store is of schema {schema}.")))
}

fn print(settings: &Settings, json: Value, text: String) -> String {
    match settings.output {
        OutputFormat::Json => json.to_string(),
        OutputFormat::Text => text,
    }
}

impl From<Reply> for Failure {
    fn from(reply: Reply) -> Self {
        match reply {
            // The name of a user or an organisation that breaks a rule.
            Reply::Refused { refused } if refused.code == Code::NameInvalid => Self::wrong(refused.detail),
            Reply::Refused { refused } => Self::failed(refused.detail),
            other => Self::failed(format!("the server answered another question: {other:?}")),
        }
    }
}

async fn running(data_dir: &Path, request: &Request) -> Result<Option<Reply>, Failure> {
    control::ask(data_dir, request).await.map_err(|error| Failure::failed(format!("the running server: {error}")))
}

/// Asks the running server, or does it here under the store's lock. A server that is just starting has the store and
/// does not answer yet.
async fn ask(settings: &Settings, request: Request) -> Result<Reply, Failure> {
    let data_dir = parts::data_dir(settings)?;
    let until = Instant::now() + SERVER_WITHIN;
    loop {
        if let Some(reply) = running(&data_dir, &request).await? {
            return Ok(reply);
        }
        match parts::store(settings, &data_dir, STORE_WITHIN).await {
            Ok(store) => {
                let keys = parts::keys(settings, &data_dir)?;
                let public_url = settings.public_url.clone().unwrap_or_else(|| format!("http://{}", settings.listen));
                let (node, _frames) = parts::node(settings, data_dir, store, public_url).await?;
                let reply = control::answer(&node, &keys, request).await;
                node.region.drain().await;
                return Ok(reply);
            }
            Err(failure) if failure.exit_code == 1 && Instant::now() < until => tokio::time::sleep(ASK_AGAIN).await,
            Err(failure) => return Err(failure),
        }
    }
}

/// `cluster status`: what is printed.
///
/// # Errors
/// When the admin listener can't be asked.
pub async fn cluster_status(settings: &Settings) -> Result<String, Failure> {
    let answer = get(&settings.admin, "/api/cluster").await?;
    if settings.output == OutputFormat::Json {
        return Ok(answer.to_string());
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut table = format!(
        "view {}, {} of {} shards owned by the node asked\n{:<24} {:>11} {:<9} {:>6}  address",
        answer["view"], answer["shards_owned"], answer["shards_total"], "node", "incarnation", "state", "shards"
    );
    for node in answer["nodes"].as_array().into_iter().flatten() {
        let address = node["address"].as_str().unwrap_or("-");
        // Writing to a String does not fail.
        let _ = write!(
            table,
            "\n{:<24} {:>11} {:<9} {:>6}  {address}",
            text(&node["node"]),
            text(&node["incarnation"]),
            text(&node["state"]),
            text(&node["shards"])
        );
    }
    Ok(table)
}

async fn get(base: &str, path: &str) -> Result<Value, Failure> {
    let url = format!("{}{path}", base.trim_end_matches('/'));
    let asked = tokio::time::timeout(ADMIN_WITHIN, request(&url)).await;
    let (status, body) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(Failure::failed(format!("{url}: {error}"))),
        Err(_) => return Err(Failure::failed(format!("{url}: no answer"))),
    };
    if status != StatusCode::OK {
        return Err(Failure::failed(format!("{url}: {status}")));
    }
    serde_json::from_slice(&body).map_err(|error| Failure::failed(format!("{url}: {error}")))
}

async fn request(url: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let uri: Uri = url.parse()?;
    anyhow::ensure!(uri.scheme_str() == Some("http"), "an http URL is needed");
    let authority = uri.authority().ok_or_else(|| anyhow::anyhow!("a host is needed"))?.clone();
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((authority.host().trim_matches(['[', ']']), port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows in the answer.
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
    let request = HttpRequest::get(path).header(header::HOST, authority.as_str()).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ADMIN_BYTES).collect().await.map_err(|error| anyhow::anyhow!(error))?;
    connection.abort();
    Ok((status, body.to_bytes()))
}
