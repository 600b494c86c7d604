//! Instance types, templates, the published contract.

use playhouse_blackbox::{on_shared, shape};
use serde_json::Value;

#[test]
fn instance_types_name_cpu_small_and_cpu_large() {
    on_shared(async |arena| {
        let list = arena.user("u").await.get("/api/instance-types").await.expect(200).json();
        assert!(list.get("next_cursor").is_some(), "{list}");
        let items = list["items"].as_array().expect("items");
        for item in items {
            let _ = (shape::text(item, "name"), shape::text(item, "runtime"));
            for key in ["cpu", "memory_bytes", "disk_bytes", "gpu"] {
                assert!(item.get(key).is_some(), "{key} is missing in {item}");
            }
        }
        let named =
            |name: &str| items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name} in {list}"));
        assert_eq!(named("cpu-small")["cpu"].as_f64(), Some(2.0));
        assert_eq!(named("cpu-small")["memory_bytes"], 4u64 << 30);
        named("cpu-large");
    });
}

#[test]
fn templates_name_their_command_and_generated_folders() {
    on_shared(async |arena| {
        let list = arena.user("u").await.get("/api/templates").await.expect(200).json();
        assert!(list.get("next_cursor").is_some(), "{list}");
        let items = list["items"].as_array().expect("items");
        assert!(items.iter().any(|item| item["name"] == "python"), "{list}");
        for item in items {
            let _ = (shape::text(item, "name"), shape::text(item, "description"), shape::text(item, "run_command"));
            assert!(
                item["generated_folders"].as_array().is_some_and(|list| list.iter().all(Value::is_string)),
                "{item}"
            );
        }
    });
}

#[test]
fn every_template_runs_its_language() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        for (template, command, expected) in [
            ("python", "python3 -c 'print(6*7)'", "42"),
            ("node", "node -e 'console.log(6*7)'", "42"),
            ("blank", "echo 42", "42"),
        ] {
            let ws = arena.workspace_of(&user, template).await;
            assert_eq!(ws.sh(command).await.good().trim(), expected, "{template}");
        }
    });
}

#[test]
fn the_openapi_document_has_every_path_of_the_contract() {
    on_shared(async |arena| {
        let document = arena.nobody().get("/api/openapi.json").await.expect(200).json();
        assert!(shape::text(&document, "openapi").starts_with("3.1"), "{}", document["openapi"]);
        let paths = document["paths"].as_object().expect("paths");
        // Names of parameters are free, so each is compared as `{}`.
        let plain = |path: &str| {
            path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
        };
        let has = |path: &str, method: &str| {
            paths.iter().any(|(known, methods)| plain(known) == path && methods.get(method).is_some())
        };
        for line in CONTRACT.trim().lines() {
            let (methods, path) = line.trim().split_once(' ').expect("methods and a path");
            for method in methods.split(',') {
                assert!(has(path, method), "{method} {path} is missing in openapi.json");
            }
        }
    });
}

const CONTRACT: &str = "
get /api/me
get,post /api/workspaces
get,put,delete /api/workspaces/{}
get /api/workspaces/{}/members
put,delete /api/workspaces/{}/members/{}
get,post /api/workspaces/{}/links
delete /api/workspaces/{}/links/{}
get,post /api/workspaces/{}/files
get /api/workspaces/{}/archive
post /api/workspaces/{}/run
get /api/workspaces/{}/processes
post /api/workspaces/{}/sandbox
get,put,delete /api/files/{}
get /api/files/{}/raw
post /api/files/{}/move
get /api/processes/{}
post /api/processes/{}/input
post /api/processes/{}/signal
post /api/processes/{}/resize
post /api/processes/{}/cancel
get /api/processes/{}/output
get /api/sandboxes/{}/status
post /api/sandboxes/{}/token
post /api/sandboxes/{}/suspend
post /api/sandboxes/{}/resume
delete /api/sandboxes/{}
get /api/instance-types
get /api/templates
get /api/stream/{}
";

#[test]
fn the_contract_has_a_page_for_people() {
    on_shared(async |arena| {
        let nobody = arena.nobody();
        let mut answer = nobody.get("/api/docs").await;
        for _ in 0..3 {
            if (300..400).contains(&answer.status) {
                answer = nobody.get(&answer.header("location")).await;
            }
        }
        let answer = answer.expect(200);
        assert!(answer.header("content-type").contains("text/html"), "{:?}", answer.headers);
    });
}
