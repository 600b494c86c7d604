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
        for path in ["/api/docs", "/api/docs/"] {
            let answer = nobody.get(path).await.expect(200);
            assert!(answer.header("content-type").contains("text/html"), "{:?}", answer.headers);
            let page = String::from_utf8(answer.body.to_vec()).expect("text");
            let files: Vec<_> = page.split('"').filter(|part| part.starts_with("/api/docs/")).collect();
            assert!(files.len() > 2, "the page brings its files along: {page}");
            for file in files {
                let _ = nobody.get(file).await.expect(200);
            }
        }
    });
}

#[test]
fn templates_and_instance_types_page_like_every_list() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        for list in ["/api/templates", "/api/instance-types"] {
            let whole = user.all(list, 1000).await;
            assert!(whole.len() > 1, "{list}");
            assert_eq!(user.all(list, 1).await, whole, "{list}");
            user.get(&format!("{list}?limit=1001")).await.problem_of_status(422);
            user.get(&format!("{list}?limit=0")).await.refused_as_malformed();
            user.get(&format!("{list}?cursor=made-up")).await.refused_as_malformed();
        }
    });
}

#[test]
fn the_openapi_document_is_whole() {
    on_shared(async |arena| {
        let document = arena.nobody().get("/api/openapi.json").await.expect(200).json();
        let mut names = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                let of = format!("{method} {path}");
                assert!(names.insert(shape::text(operation, "operationId")), "{of} has a name of its own");
                for (status, response) in operation["responses"].as_object().expect("responses") {
                    assert!(!shape::text(response, "description").is_empty(), "{of} describes {status}");
                }
                let none = Vec::new();
                let parameters = operation["parameters"].as_array().unwrap_or(&none);
                let named = |kind: &str, name: &str| parameters.iter().any(|p| p["in"] == kind && p["name"] == name);
                for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                    assert!(named("path", part), "{of} describes {part}");
                }
                assert_eq!(named("header", "Idempotency-Key"), method == "post", "{of} and idempotency keys");
            }
        }
        let mut refs = Vec::new();
        collect_refs(&document, &mut refs);
        assert!(!refs.is_empty());
        for reference in refs {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference} is there");
        }
    });
}

fn collect_refs(value: &serde_json::Value, refs: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            refs.extend(fields.get("$ref").and_then(|reference| reference.as_str()).map(ToOwned::to_owned));
            fields.values().for_each(|field| collect_refs(field, refs));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_refs(item, refs)),
        _ => {}
    }
}
