//! Problems, ids, unknown fields, paging.

use playhouse_blackbox::{on_shared, shape};
use reqwest::Method;
use serde_json::{Value, json};

#[test]
fn without_a_valid_token_the_api_answers_401() {
    on_shared(async |arena| {
        let nobody = arena.nobody();
        for path in ["/api/me", "/api/workspaces", "/api/workspaces/0193b2a0-0000-7000-8000-000000000000/files"] {
            nobody.get(path).await.problem_of_status(401);
        }
        let forged = nobody.with(playhouse_blackbox::client::Identity::Bearer("v4.public.AAAA".into()));
        forged.get("/api/me").await.problem_of_status(401);
    });
}

#[test]
fn a_token_with_one_character_changed_is_401() {
    on_shared(async |arena| {
        let data = arena.server().data().to_string_lossy().into_owned();
        let made = playhouse_blackbox::cli::run(&["token", "create", "--user", "mallory", "--data-dir", &data]).await;
        let token = made.expect(0).line().to_owned();
        let at = token.len() / 2;
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        let client = arena.nobody().with(playhouse_blackbox::client::Identity::Bearer(changed));
        client.get("/api/me").await.problem_of_status(401);
    });
}

#[test]
fn what_is_not_there_is_a_404_problem() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let id = "0193b2a0-0000-7000-8000-00000000007b";
        user.get(&format!("/api/workspaces/{id}")).await.problem(404, "workspace_not_found");
        user.get(&format!("/api/workspaces/{id}/files")).await.problem(404, "workspace_not_found");
        user.get(&format!("/api/files/{id}")).await.problem_of_status(404);
        user.get(&format!("/api/processes/{id}")).await.problem_of_status(404);
        user.get(&format!("/api/sandboxes/{id}/status")).await.problem_of_status(404);
        user.get("/api/no-such-thing").await.problem_of_status(404);
    });
}

#[test]
fn a_bad_uuid_is_refused_with_a_problem() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        for path in ["/api/workspaces/not-a-uuid", "/api/files/1", "/api/processes/x/output", "/api/sandboxes/x/status"]
        {
            user.get(path).await.refused_as_malformed();
        }
        user.put("/api/workspaces/not-a-uuid", json!({"name": "x"})).await.refused_as_malformed();
        user.delete("/api/workspaces/not-a-uuid").await.refused_as_malformed();
    });
}

#[test]
fn an_unknown_field_is_refused_and_named() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let problem = user.post("/api/workspaces", json!({"name": "x", "colour": "red"})).await.refused_as_malformed();
        assert!(shape::text(&problem, "detail").contains("colour"), "the place is named: {problem}");
        let ws = arena.workspace_of(&user, "python").await;
        let problem = ws.post_run(json!({"command": "true", "shell": "zsh"})).await.refused_as_malformed();
        assert!(shape::text(&problem, "detail").contains("shell"), "the place is named: {problem}");
        user.put(&ws.path(""), json!({"nam": "y"})).await.refused_as_malformed();
        user.post(&ws.path("/files"), json!({"path": "/a", "contents": ""})).await.refused_as_malformed();
        user.post(&ws.path("/sandbox"), json!({"kind": "big"})).await.refused_as_malformed();
    });
}

#[test]
fn a_malformed_body_is_refused_with_the_place_named() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        for body in ["", "{", "[]", "null", "{\"name\": 7}", "{}", "\u{feff}{}", "{\"name\":\"a\"} trailing"] {
            let request =
                user.request(Method::POST, "/api/workspaces").header("content-type", "application/json").body(body);
            user.send(request).await.refused_as_malformed();
        }
        let problem = user.post("/api/workspaces", json!({"name": 7})).await.refused_as_malformed();
        assert!(shape::text(&problem, "detail").contains("name"), "the place is named: {problem}");
    });
}

#[test]
fn a_word_is_a_string_and_anything_else_is_named() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for no in [json!(null), json!(5), json!(["view"]), json!({"view": null}), json!("View")] {
            let problem = ws.client.post(&ws.path("/links"), json!({"role": no})).await.refused_as_malformed();
            assert!(shape::text(&problem, "detail").contains("role"), "the place is named: {problem}");
            if !no.is_null() {
                // Null is as if it were left out.
                ws.client.put(&ws.path(""), json!({"sharing_mode": no})).await.refused_as_malformed();
            }
        }
        let file = json!({"path": "/a", "content": "", "encoding": {"base64": null}});
        let problem = ws.client.post(&ws.path("/files"), file).await.refused_as_malformed();
        assert!(shape::text(&problem, "detail").contains("encoding"), "the place is named: {problem}");
        let run = ws.run("sleep 60").await;
        let signal = format!("/api/processes/{}/signal", run.process_id);
        ws.client.post(&signal, json!({"signal": {"INT": null}})).await.refused_as_malformed();
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn a_method_that_a_path_does_not_have_is_a_405_problem() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let answer = user.send(user.request(Method::PATCH, "/api/workspaces")).await;
        answer.problem_of_status(405);
    });
}

#[test]
fn every_answer_carries_a_request_id_of_its_own() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let mut seen = std::collections::BTreeSet::new();
        for path in ["/healthz", "/readyz", "/api/me", "/api/me", "/api/none", "/api/openapi.json", "/api/docs"] {
            let id = user.get(path).await.header("x-request-id");
            assert!(!id.is_empty() && seen.insert(id), "{path} has a fresh id");
        }
    });
}

#[test]
fn lists_page_by_limit_and_cursor() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let mut made = Vec::new();
        for _ in 0..5 {
            made.push(arena.workspace_of(&user, "blank").await.id);
        }
        let page = user.get("/api/workspaces?limit=2").await.expect(200).json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
        assert!(page["next_cursor"].is_string(), "{page}");
        for limit in [1, 2, 3, 5, 1000] {
            let mut listed: Vec<_> =
                user.all("/api/workspaces", limit).await.iter().map(|w| shape::id(w, "id")).collect();
            listed.sort_unstable();
            made.sort_unstable();
            assert_eq!(listed, made, "limit {limit}");
        }
    });
}

#[test]
fn a_limit_above_1000_is_422_and_a_broken_cursor_is_refused() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        user.get("/api/workspaces?limit=1000").await.expect(200).json();
        user.get("/api/workspaces?limit=1001").await.problem_of_status(422);
        user.get("/api/workspaces?limit=many").await.refused_as_malformed();
        user.get("/api/workspaces?limit=-1").await.refused_as_malformed();
        user.get("/api/workspaces?cursor=%00%ff").await.refused_as_malformed();
        user.get("/api/workspaces?cursor=made-up").await.refused_as_malformed();
    });
}

#[test]
fn files_processes_and_members_page_too() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for name in ["/b", "/a", "/c/d", "/c!", "/Z"] {
            ws.create(name, "x").await;
        }
        let paths = |items: Vec<Value>| items.iter().map(|file| shape::text(file, "path")).collect::<Vec<_>>();
        let whole = paths(ws.client.all(&ws.path("/files"), 1000).await);
        assert_eq!(whole, ["/Z", "/a", "/b", "/c", "/c!", "/c/d"], "byte order, parents made");
        assert_eq!(paths(ws.client.all(&ws.path("/files"), 1).await), whole);
        assert_eq!(paths(ws.client.all(&ws.path("/files"), 4).await), whole);

        let mut runs = Vec::new();
        for _ in 0..3 {
            runs.push(ws.run("true").await.process_id);
        }
        let mut listed: Vec<_> =
            ws.client.all(&ws.path("/processes"), 2).await.iter().map(|p| shape::id(p, "id")).collect();
        listed.sort_unstable();
        runs.sort_unstable();
        assert_eq!(listed, runs);

        let mut invited = Vec::new();
        for _ in 0..3 {
            let other = arena.user("m").await;
            let _ =
                ws.client.put(&ws.path(&format!("/members/{}", other.name)), json!({"role": "view"})).await.success();
            invited.push(other.name);
        }
        let names =
            ws.client.all(&ws.path("/members"), 1).await.iter().map(|m| shape::text(m, "name")).collect::<Vec<_>>();
        for name in invited {
            assert_eq!(names.iter().filter(|listed| **listed == name).count(), 1, "{name} is listed once in {names:?}");
        }
    });
}

#[test]
fn an_array_is_no_body_where_an_object_is_asked_for() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let user = &ws.client;
        user.post("/api/workspaces", json!(["a", null])).await.refused_as_malformed();
        user.put(&ws.path(""), json!(["a", null])).await.refused_as_malformed();
        user.put(&ws.path("/members/x"), json!(["view"])).await.refused_as_malformed();
        user.post(&ws.path("/links"), json!(["view", null])).await.refused_as_malformed();
        user.post(&ws.path("/files"), json!(["/a", false, null, "utf-8"])).await.refused_as_malformed();
        user.post(&ws.path("/sandbox"), json!([null])).await.refused_as_malformed();
        ws.post_run(json!(["true", false, null, null, {}, null])).await.refused_as_malformed();
        assert!(ws.get().await["sandbox"].is_null(), "nothing was made");
    });
}

#[test]
fn a_cursor_goes_on_in_its_own_list_only() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let (one, other) = (arena.workspace_of(&user, "blank").await, arena.workspace_of(&user, "blank").await);
        for ws in [&one, &other] {
            ws.create("/a", "").await;
            ws.create("/b", "").await;
        }
        let cursor = async |path: &str| {
            let page = user.get(&format!("{path}?limit=1")).await.expect(200).json();
            shape::text(&page, "next_cursor")
        };
        let (files, workspaces) = (cursor(&one.path("/files")).await, cursor("/api/workspaces").await);
        for (list, cursor) in [
            ("/api/workspaces".to_owned(), &files),
            (other.path("/files"), &files),
            (one.path("/files"), &workspaces),
            (one.path("/members"), &files),
            (one.path("/links"), &files),
            (one.path("/processes"), &files),
            ("/api/templates".to_owned(), &files),
        ] {
            user.get(&format!("{list}?cursor={cursor}")).await.problem(422, "cursor_invalid");
        }
        let rest = user.get(&format!("{}?cursor={files}", one.path("/files"))).await.expect(200).json();
        assert_eq!(rest["items"].as_array().map(Vec::len), Some(1));
    });
}
