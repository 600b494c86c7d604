//! An HTTP client of one user, and its checks of what every answer must have.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, RequestBuilder,
    header::{HeaderMap, HeaderValue},
    redirect::Policy,
};
use serde_json::Value;

use crate::{Server, cli};

/// A request that takes longer is stuck.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// How a client says who it is.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Not at all.
    Nobody,
    /// By a bearer token.
    Bearer(String),
    /// As a browser, by a cookie.
    Cookie(String),
}

/// A client of one server as one user.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Arc<Server>,
    identity: Identity,
    /// The user's name.
    pub name: String,
}

impl Client {
    /// A client with this identity.
    ///
    /// # Panics
    /// When the HTTP client can't be made.
    #[must_use]
    pub fn new(server: &Arc<Server>, name: &str, identity: Identity) -> Self {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(REQUEST_LIMIT)
            .build()
            .expect("an HTTP client");
        Self { http, server: Arc::clone(server), identity, name: name.to_owned() }
    }

    /// A client of the user `name`, made on first sight by `playhouse token create`; `flags` as in `--org ORG`.
    ///
    /// # Panics
    /// When the command fails.
    pub async fn of_user(server: &Arc<Server>, name: &str, flags: &[&str]) -> Self {
        let data = server.data().to_string_lossy().into_owned();
        let mut arguments = vec!["token", "create", "--user", name, "--data-dir", &data];
        arguments.extend_from_slice(flags);
        let token = cli::run(&arguments).await.expect(0).line().to_owned();
        Self::new(server, name, Identity::Bearer(token))
    }

    /// The same server, another identity.
    #[must_use]
    pub fn with(&self, identity: Identity) -> Self {
        Self { identity, ..self.clone() }
    }

    /// Its server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// A request to a path of the API or to a whole URL.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", self.server.url()) };
        let request = self.http.request(method, url);
        match &self.identity {
            Identity::Nobody => request,
            Identity::Bearer(token) => request.bearer_auth(token),
            Identity::Cookie(cookie) => request.header("cookie", cookie),
        }
    }

    /// Sends a request; an error where there is no server.
    ///
    /// # Errors
    /// When the connection fails before the answer is whole.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let request = request.build()?;
        let what = format!("{} {}", request.method(), request.url());
        let answer = self.http.execute(request).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { what, status, headers, body: answer.bytes().await? })
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When there is no answer, or it lacks `x-request-id`.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        // A server may close a connection that is kept alive at any time, as after an early refusal; what is idempotent
        // is then sent once more, as browsers do (RFC 9110, 9.2.2).
        let again = request.try_clone();
        let answer = match (self.try_send(request).await, again) {
            (Err(error), Some(again)) if is_closed_early(&error) && is_get(&again) => self.try_send(again).await,
            (answer, _) => answer,
        };
        let answer = answer.unwrap_or_else(|error| panic!("no answer: {error:?}"));
        assert!(answer.headers.contains_key("x-request-id"), "{} answers without x-request-id", answer.what);
        answer
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// `POST` without a body.
    pub async fn post_empty(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path)).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// All items of a list, page by page.
    ///
    /// # Panics
    /// When a page is malformed or the pages don't end.
    pub async fn all(&self, path: &str, limit: usize) -> Vec<Value> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut cursor = None::<String>;
        for _ in 0..100_000 {
            let mut page = format!("{path}{mark}limit={limit}");
            if let Some(cursor) = &cursor {
                page = format!("{page}&cursor={}", encoded(cursor));
            }
            let page = self.get(&page).await.expect(200).json();
            let found = page["items"].as_array().expect("a list has items");
            assert!(found.len() <= limit, "{} items in a page of {limit}", found.len());
            items.extend(found.iter().cloned());
            match page.get("next_cursor").expect("a list has next_cursor") {
                Value::Null => return items,
                Value::String(next) => cursor = Some(next.clone()),
                other => panic!("next_cursor is {other}"),
            }
        }
        panic!("{path} pages for ever");
    }
}

fn is_closed_early(error: &reqwest::Error) -> bool {
    format!("{error:?}").contains("IncompleteMessage")
}

fn is_get(request: &RequestBuilder) -> bool {
    request.try_clone().and_then(|request| request.build().ok()).is_some_and(|request| request.method() == Method::GET)
}

/// A query value, percent-encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked.
    pub what: String,
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Itself, if it has this status.
    ///
    /// # Panics
    /// When it has another.
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "status of {}: {}", self.what, self.start());
        self
    }

    /// Itself, if its status is a success, for where the contract gives no number.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn success(self) -> Self {
        assert!((200..300).contains(&self.status), "status {} of {}: {}", self.status, self.what, self.start());
        self
    }

    /// The beginning of the body, for messages.
    #[must_use]
    pub fn start(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(600)]).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        let kind = self.header("content-type");
        assert!(kind.contains("json"), "content-type of {} is {kind}", self.what);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.start()))
    }

    /// A header, empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).map(HeaderValue::to_str).and_then(Result::ok).unwrap_or_default().to_owned()
    }

    /// Checks that it is a whole problem document with this status, and answers it.
    ///
    /// # Panics
    /// When it is not.
    pub fn problem_of_status(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "status of {}: {}", self.what, self.start());
        let kind = self.header("content-type");
        assert!(kind.starts_with("application/problem+json"), "{} is answered as {kind}: {}", self.what, self.start());
        let problem = self.json();
        for key in ["type", "title", "detail", "code", "request_id"] {
            assert!(problem[key].is_string(), "the problem lacks {key}: {problem}");
        }
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{problem}");
        let code = problem["code"].as_str().unwrap_or_default();
        let snake = !code.is_empty()
            && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        assert!(snake, "code is no snake_case word: {problem}");
        problem
    }

    /// Checks that it is a problem with this status and code, and answers it.
    ///
    /// # Panics
    /// When it is not.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.problem_of_status(status);
        assert_eq!(problem["code"], code, "{}: {problem}", self.what);
        problem
    }

    /// Checks that a malformed request was refused with 400 or 422, and answers the problem.
    ///
    /// # Panics
    /// When it was not.
    pub fn refused_as_malformed(&self) -> Value {
        assert!(matches!(self.status, 400 | 422), "status {} of {}: {}", self.status, self.what, self.start());
        self.problem_of_status(self.status)
    }
}
