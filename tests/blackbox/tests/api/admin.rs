//! The admin listener and the operators' view.

use playhouse_blackbox::{Client, cli, on_shared, shape};
use reqwest::Method;
use serde_json::Value;

async fn admin(client: &Client, path: &str) -> playhouse_blackbox::Answer {
    let url = format!("{}{path}", client.server().ready().admin);
    client.try_send(client.request(Method::GET, &url)).await.expect("the admin listener answers").expect(200)
}

#[test]
fn metrics_are_prometheus_text() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let _ = ws.sh("echo something to count").await.good();
        let text = playhouse_blackbox::wait::until("metrics", async || {
            let answer = admin(&ws.client, "/metrics").await;
            let text = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
            text.contains("# TYPE").then_some(text)
        })
        .await;
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let value = line.rsplit(' ').next().expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    });
}

#[test]
fn the_admin_listener_has_healthz_and_readyz() {
    on_shared(async |arena| {
        let nobody = arena.nobody();
        admin(&nobody, "/healthz").await;
        admin(&nobody, "/readyz").await;
    });
}

#[test]
fn api_cluster_shows_one_node_that_owns_all_shards() {
    on_shared(async |arena| {
        let cluster = admin(&arena.nobody(), "/api/cluster").await.json();
        assert!(cluster["view"].is_u64(), "{cluster}");
        assert_eq!(cluster["shards_total"], 4096);
        assert_eq!(cluster["shards_owned"], 4096);
        let nodes = cluster["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 1, "{cluster}");
        assert_eq!(nodes[0]["node"], *arena.server().ready().node);
        assert_eq!(nodes[0]["state"], "up");
        assert_eq!(nodes[0]["shards"], 4096);
        assert!(nodes[0]["incarnation"].is_u64() && nodes[0].get("address").is_some(), "{cluster}");
        assert_eq!(nodes[0]["links"].as_array().map(Vec::len), Some(0), "{cluster}");
    });
}

#[test]
fn locate_says_who_owns_an_entity_and_a_workspaces_children_live_with_it() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/a", "a").await;
        let run = ws.run("true").await;
        let mut found: Vec<Value> = Vec::new();
        for id in [ws.id, shape::id(&file, "id"), run.process_id, run.sandbox_id] {
            let place = admin(&ws.client, &format!("/api/cluster/locate/{id}")).await.json();
            assert!(place["shard"].as_u64().is_some_and(|shard| shard < 4096), "{place}");
            assert!(place["epoch"].is_u64(), "{place}");
            assert_eq!(place["node"], *arena.server().ready().node);
            found.push(place);
        }
        assert!(found.iter().all(|place| place["shard"] == found[0]["shard"]), "{found:?}");
    });
}

#[test]
fn the_public_listener_does_not_show_what_is_the_operators() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        for path in ["/metrics", "/api/cluster"] {
            let answer = user.get(path).await;
            assert!(
                !answer.start().contains("# TYPE") && !answer.start().contains("shards_total"),
                "{path}: {}",
                answer.start()
            );
        }
    });
}

#[test]
fn cluster_status_prints_the_nodes() {
    on_shared(async |arena| {
        let ready = arena.server().ready();
        let done = cli::run(&["cluster", "status", "--admin", &ready.admin]).await.expect(0);
        assert!(done.stdout.contains(&ready.node) && done.stdout.contains("up"), "{}", done.stdout);
        let done = cli::run(&["cluster", "status", "--admin", &ready.admin, "--output", "json"]).await.expect(0);
        let value: Value = serde_json::from_str(&done.stdout).expect("JSON");
        assert_eq!(value["shards_total"], 4096, "{value}");
        let nobody_there = cli::run(&["cluster", "status", "--admin", "http://127.0.0.1:1"]).await;
        assert_eq!(nobody_there.code, Some(1), "{}", nobody_there.stderr);
    });
}

#[test]
fn every_metric_says_what_it_means() {
    on_shared(async |arena| {
        let nobody = arena.nobody();
        let _ = nobody.get("/healthz").await.expect(200);
        let text = String::from_utf8(admin(&nobody, "/metrics").await.body.to_vec()).expect("UTF-8");
        let of = |mark: &str| -> std::collections::BTreeSet<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(mark));
            lines.filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned).collect()
        };
        assert!(!of("# TYPE ").is_empty());
        assert_eq!(of("# TYPE "), of("# HELP "));
    });
}
