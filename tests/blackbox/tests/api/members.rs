//! Members.

use playhouse_blackbox::{on_shared, shape};
use serde_json::json;

#[test]
fn a_member_is_named_by_name_or_id_and_listed() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (ann, ben) = (arena.user("ann").await, arena.user("ben").await);
        let ben_id = shape::text(&ben.get("/api/me").await.expect(200).json(), "id");
        let _ = ws.client.put(&ws.path(&format!("/members/{}", ann.name)), json!({"role": "view"})).await.success();
        let _ = ws.client.put(&ws.path(&format!("/members/{ben_id}")), json!({"role": "edit"})).await.success();
        let listed = ws.client.get(&ws.path("/members")).await.expect(200).json();
        assert!(listed["next_cursor"].is_null(), "{listed}");
        let role_of = |name: &str| {
            listed["items"].as_array().expect("items").iter().find(|m| m["name"] == name).map(|member| {
                let _ = shape::id(member, "user_id");
                shape::text(member, "role")
            })
        };
        assert_eq!(role_of(&ann.name).as_deref(), Some("view"), "{listed}");
        assert_eq!(role_of(&ben.name).as_deref(), Some("edit"), "{listed}");
        assert_eq!(ws.seen_by(&ann).get().await["role"], "view");
        assert_eq!(ws.seen_by(&ben).get().await["role"], "edit");
    });
}

#[test]
fn putting_a_member_again_changes_the_role() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let ann = arena.user("ann").await;
        let path = ws.path(&format!("/members/{}", ann.name));
        for role in ["view", "edit", "view"] {
            let _ = ws.client.put(&path, json!({"role": role})).await.success();
            assert_eq!(ws.seen_by(&ann).get().await["role"], role);
        }
        let listed = ws.client.all(&ws.path("/members"), 100).await;
        assert_eq!(listed.iter().filter(|m| m["name"] == *ann.name).count(), 1);
        ws.client.put(&path, json!({"role": "owner"})).await.refused_as_malformed();
        ws.client.put(&path, json!({"role": "admin"})).await.refused_as_malformed();
    });
}

#[test]
fn an_unknown_user_is_404_user_not_found() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let nobody = ws.path("/members/nobody-of-this-name");
        ws.client.put(&nobody, json!({"role": "view"})).await.problem(404, "user_not_found");
        let id = ws.path("/members/0193b2a0-0000-7000-8000-00000000007b");
        ws.client.put(&id, json!({"role": "view"})).await.problem(404, "user_not_found");
    });
}

#[test]
fn a_removed_member_sees_nothing_any_more() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let ann = arena.user("ann").await;
        let path = ws.path(&format!("/members/{}", ann.name));
        let _ = ws.client.put(&path, json!({"role": "edit"})).await.success();
        let _ = ws.seen_by(&ann).get().await;
        let _ = ws.client.delete(&path).await.success();
        ann.get(&ws.path("")).await.problem(404, "workspace_not_found");
        assert!(ann.all("/api/workspaces", 100).await.is_empty());
        assert!(ws.client.all(&ws.path("/members"), 100).await.iter().all(|m| m["name"] != *ann.name));
    });
}

#[test]
fn the_owner_alone_manages_members() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (editor, other) = (arena.user("editor").await, arena.user("other").await);
        let _ = ws.client.put(&ws.path(&format!("/members/{}", editor.name)), json!({"role": "edit"})).await.success();
        let path = ws.path(&format!("/members/{}", other.name));
        editor.put(&path, json!({"role": "view"})).await.problem(403, "not_permitted");
        editor.delete(&ws.path(&format!("/members/{}", editor.name))).await.problem_of_status(403);
        other.put(&path, json!({"role": "edit"})).await.problem(404, "workspace_not_found");
        other.get(&ws.path("")).await.problem(404, "workspace_not_found");
    });
}
