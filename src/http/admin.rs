//! The operators' listener: metrics, liveness, readiness, and who owns what.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use playhouse_protocol::{SHARDS, Shard};
use serde::Serialize;

use super::{app::App, extract, problem::Answer};

/// The operators' routes.
pub fn router() -> Router<App> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/api/cluster", get(cluster))
        .route("/api/cluster/locate/{id}", get(locate))
}

/// Says what the metrics mean, once there is a recorder for them.
pub fn describe_metrics() {
    metrics::describe_counter!("playhouse_http_requests_total", "Requests answered, by method, route and status.");
    metrics::describe_histogram!("playhouse_http_request_seconds", "How long answers took to begin, in seconds.");
    metrics::describe_gauge!("playhouse_sockets", "Client sockets that are open.");
    metrics::describe_gauge!("playhouse_shards_owned", "Shards that this node owns.");
    metrics::describe_gauge!("playhouse_ready", "1 while the node owns its shards and does not stop.");
}

/// Requests are served.
#[utoipa::path(get, path = "/healthz", tag = "operators",
    responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The node owns its shards and does not stop.
#[utoipa::path(get, path = "/readyz", tag = "operators",
    responses((status = 200, content_type = "text/plain", body = String), (status = 503)))]
pub async fn readyz(State(app): State<App>) -> (StatusCode, &'static str) {
    if app.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    // Read where they are kept, at the moment they are asked for.
    metrics::gauge!("playhouse_sockets").set(u32::try_from(app.node.sessions.count()).unwrap_or(u32::MAX));
    metrics::gauge!("playhouse_shards_owned").set(SHARDS);
    metrics::gauge!("playhouse_ready").set(u8::from(app.is_ready()));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}

#[derive(Debug, Serialize)]
struct Cluster {
    /// The view's number. One node alone has one view for each of its lives.
    view: u64,
    nodes: Vec<Member>,
    shards_total: u16,
    /// By this node.
    shards_owned: u16,
}

#[derive(Debug, Serialize)]
struct Member {
    node: String,
    incarnation: u64,
    state: &'static str,
    address: Option<String>,
    shards: u16,
    /// To other nodes; one alone has none.
    links: [(); 0],
}

async fn cluster(State(app): State<App>) -> Json<Cluster> {
    let node = &app.node;
    let member = Member {
        node: node.name.clone(),
        incarnation: node.incarnation,
        state: if app.is_ready() { "up" } else { "draining" },
        address: None,
        shards: SHARDS,
        links: [],
    };
    Json(Cluster { view: node.incarnation, nodes: vec![member], shards_total: SHARDS, shards_owned: SHARDS })
}

#[derive(Debug, Serialize)]
struct Place {
    shard: u16,
    node: String,
    epoch: u64,
}

async fn locate(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Place>> {
    let id = extract::id(&id)?;
    Ok(Json(Place { shard: Shard::of(id).number(), node: app.node.name.clone(), epoch: app.node.epoch }))
}
