//! Share links.

use playhouse_blackbox::{Client, Options, Workspace, on_shared, shape, wait};
use serde_json::{Value, json};

async fn link(ws: &Workspace, body: Value) -> Value {
    let link = ws.client.post(&ws.path("/links"), body).await.success().json();
    let _ = (shape::id(&link, "id"), shape::text(&link, "url"));
    assert!(link.get("expires_at").is_some(), "{link}");
    link
}

async fn follow(client: &Client, link: &Value) -> playhouse_blackbox::Answer {
    client.post_empty(&shape::text(link, "url")).await
}

#[test]
fn posting_to_a_links_url_grants_its_role_and_answers_the_workspace() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for role in ["view", "edit"] {
            let made = link(&ws, json!({"role": role})).await;
            assert_eq!(made["role"], role);
            let guest = arena.user("guest").await;
            guest.get(&ws.path("")).await.problem_of_status(404);
            let answered = follow(&guest, &made).await.success().json();
            shape::workspace(&answered);
            assert_eq!((shape::id(&answered, "id"), shape::text(&answered, "role")), (ws.id, role.to_owned()));
            assert_eq!(ws.seen_by(&guest).get().await["role"], role);
            assert!(guest.all("/api/workspaces", 100).await.iter().any(|w| shape::id(w, "id") == ws.id));
        }
    });
}

#[test]
fn getting_a_links_url_shows_a_page_and_grants_nothing() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let made = link(&ws, json!({"role": "edit"})).await;
        let guest = arena.user("guest").await;
        let page = guest.get(&shape::text(&made, "url")).await;
        assert!((200..400).contains(&page.status), "{}", page.status);
        guest.get(&ws.path("")).await.problem(404, "workspace_not_found");
    });
}

#[test]
fn following_a_link_without_a_token_is_401() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let made = link(&ws, json!({"role": "view"})).await;
        follow(&arena.nobody(), &made).await.problem_of_status(401);
    });
}

#[test]
fn links_are_listed_and_the_owner_alone_makes_them() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let made = link(&ws, json!({"role": "view", "ttl_seconds": 3600})).await;
        shape::time(&made, "expires_at");
        let listed = ws.client.get(&ws.path("/links")).await.expect(200).json();
        assert!(listed["items"].as_array().expect("items").iter().any(|l| l["id"] == made["id"]), "{listed}");
        assert!(listed.get("next_cursor").is_some(), "{listed}");
        ws.client.post(&ws.path("/links"), json!({"role": "owner"})).await.refused_as_malformed();
        let editor = arena.user("editor").await;
        let _ = ws.client.put(&ws.path(&format!("/members/{}", editor.name)), json!({"role": "edit"})).await.success();
        editor.post(&ws.path("/links"), json!({"role": "view"})).await.problem(403, "not_permitted");
    });
}

#[test]
fn revoking_a_link_ends_what_it_granted_on_open_sockets_too() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo here; sleep 1000").await;
        let made = link(&ws, json!({"role": "view"})).await;
        let guest = arena.user("guest").await;
        let _ = follow(&guest, &made).await.success();
        let mut stream = ws.seen_by(&guest).stream(run.sandbox_id, Options::default()).await;
        stream.shows(run.process_id, "here").await;
        let _ = ws.client.delete(&ws.path(&format!("/links/{}", shape::text(&made, "id")))).await.success();
        let start = tokio::time::Instant::now();
        assert_eq!(stream.closed().await.code, 4403);
        assert!(start.elapsed() < wait::A_SECOND, "{:?}", start.elapsed());
        guest.get(&ws.path("")).await.problem(404, "workspace_not_found");
        assert!(!(200..300).contains(&follow(&guest, &made).await.status), "a revoked link grants nothing");
    });
}

#[test]
fn what_a_link_granted_ends_when_it_expires() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let made = link(&ws, json!({"role": "view", "ttl_seconds": 3})).await;
        let guest = arena.user("guest").await;
        let _ = follow(&guest, &made).await.success();
        wait::until("the grant to expire", async || (guest.get(&ws.path("")).await.status == 404).then_some(())).await;
        assert!(!(200..300).contains(&follow(&guest, &made).await.status), "an expired link grants nothing");
    });
}

#[test]
fn a_membership_outlives_a_revoked_link() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let guest = arena.user("guest").await;
        let _ = ws.client.put(&ws.path(&format!("/members/{}", guest.name)), json!({"role": "view"})).await.success();
        let made = link(&ws, json!({"role": "edit"})).await;
        let _ = follow(&guest, &made).await.success();
        assert_eq!(ws.seen_by(&guest).get().await["role"], "edit");
        let _ = ws.client.delete(&ws.path(&format!("/links/{}", shape::text(&made, "id")))).await.success();
        assert_eq!(ws.seen_by(&guest).get().await["role"], "view");
    });
}
