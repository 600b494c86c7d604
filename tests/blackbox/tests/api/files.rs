//! The file rows, one by one.

use base64::{Engine, prelude::BASE64_STANDARD};
use playhouse_blackbox::{Workspace, on_shared, shape};
use reqwest::Method;
use serde_json::{Value, json};

fn at(file: &Value) -> String {
    format!("/api/files/{}", shape::id(file, "id"))
}

#[test]
fn post_files_makes_a_file_and_its_parents() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/src/deep/main.py", "print('hé')\n").await;
        assert_eq!((&file["size"], &file["is_directory"]), (&json!(13), &json!(false)));
        assert_eq!(shape::id(&file, "workspace_id"), ws.id);
        let files = ws.files().await;
        let paths: Vec<_> = files.iter().map(|f| (shape::text(f, "path"), f["is_directory"] == true)).collect();
        let expected = [("/src", true), ("/src/deep", true), ("/src/deep/main.py", false)];
        assert_eq!(paths, expected.map(|(path, directory)| (path.to_owned(), directory)));
    });
}

#[test]
fn post_files_makes_a_directory_and_takes_base64() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let made = ws
            .client
            .post(&ws.path("/files"), json!({"path": "/empty", "is_directory": true}))
            .await
            .expect(201)
            .json();
        shape::file(&made);
        assert_eq!(made["is_directory"], true);
        let bytes = [0xff, 0x00, 0x80, 0x41];
        let body = json!({"path": "/bin", "content": BASE64_STANDARD.encode(bytes), "encoding": "base64"});
        let made = ws.client.post(&ws.path("/files"), body).await.expect(201).json();
        assert_eq!(made["size"], 4);
        assert_eq!(ws.read("/bin").await.as_deref(), Some(&bytes[..]));
        let wrong = json!({"path": "/wrong", "content": "%%%", "encoding": "base64"});
        ws.client.post(&ws.path("/files"), wrong).await.refused_as_malformed();
        let wrong = json!({"path": "/wrong", "content": "x", "encoding": "latin-1"});
        ws.client.post(&ws.path("/files"), wrong).await.refused_as_malformed();
    });
}

#[test]
fn an_existing_path_is_409_path_exists() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        ws.create("/a/b", "1").await;
        ws.post_file("/a/b", "2").await.problem(409, "path_exists");
        ws.post_file("/a", "2").await.problem(409, "path_exists");
        ws.client
            .post(&ws.path("/files"), json!({"path": "/a", "is_directory": true}))
            .await
            .problem(409, "path_exists");
        assert_eq!(ws.read("/a/b").await.as_deref(), Some(&b"1"[..]));
        // A file can't be a parent.
        let below = ws.post_file("/a/b/c", "x").await;
        assert!((400..500).contains(&below.status), "{}", below.status);
        below.problem_of_status(below.status);
    });
}

#[test]
fn a_path_not_in_normal_form_is_422_path_invalid() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let long_name = format!("/{}", "n".repeat(256));
        let long_path = format!("/{}", vec!["d".repeat(200); 21].join("/"));
        let bad = [
            "",
            "/",
            "a",
            "./a",
            "/a/",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/..",
            "/a/../b",
            "/a/./b",
            "/a\0b",
            &long_name,
            &long_path,
            "../etc/passwd",
            "/a/../../etc/passwd",
        ];
        for path in bad {
            ws.post_file(path, "x").await.problem(422, "path_invalid");
        }
        assert!(ws.paths().await.is_empty());
        let file = ws.create("/ok", "x").await;
        for path in bad {
            ws.client.post(&format!("{}/move", at(&file)), json!({"path": path})).await.problem(422, "path_invalid");
        }
        let edge = format!("/{}", "n".repeat(255));
        ws.create(&edge, "x").await;
        for odd in ["/...", "/a b", "/~", "/a\\b", "/-rf", "/ünï/cödé", "/new\nline", "/.env"] {
            ws.create(odd, "x").await;
        }
    });
}

#[test]
fn files_are_listed_in_byte_order_below_a_prefix() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for path in ["/src/b", "/src/a/z", "/src!", "/srcx", "/é", "/A"] {
            ws.create(path, "").await;
        }
        let listed = async |prefix: &str| -> Vec<String> {
            let answer = ws.client.all(&ws.path(&format!("/files?prefix={prefix}")), 100).await;
            answer.iter().map(|file| shape::text(file, "path")).collect()
        };
        assert_eq!(ws.paths().await, ["/A", "/src", "/src!", "/src/a", "/src/a/z", "/src/b", "/srcx", "/é"]);
        assert_eq!(listed("/src").await, ["/src", "/src/a", "/src/a/z", "/src/b"]);
        assert_eq!(listed("/src/a").await, ["/src/a", "/src/a/z"]);
        assert!(listed("/none").await.is_empty());
        ws.client.get(&ws.path("/files?prefix=src")).await.problem(422, "path_invalid");
        ws.client.get(&ws.path("/files?prefix=/a/../b")).await.problem(422, "path_invalid");
    });
}

#[test]
fn what_lies_under_git_is_listed_only_with_all() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for path in ["/.git/config", "/.gitignore", "/.env"] {
            ws.create(path, "x").await;
        }
        let plain = ws.paths().await;
        assert!(plain.contains(&"/.gitignore".into()) && plain.contains(&"/.env".into()), "{plain:?}");
        assert!(!plain.contains(&"/.git/config".into()), "{plain:?}");
        let all = ws.client.all(&ws.path("/files?all=true"), 100).await;
        assert!(all.iter().any(|file| file["path"] == "/.git/config"), "{all:?}");
    });
}

#[test]
fn get_file_answers_its_content_as_text_or_base64() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/t", "tëxt").await;
        let answer = ws.client.get(&at(&file)).await.expect(200);
        let seen = answer.json();
        shape::file(&seen);
        assert_eq!((&seen["content"], &seen["encoding"]), (&json!("tëxt"), &json!("utf-8")));
        assert_eq!(answer.header("etag"), format!("\"{}\"", shape::text(&seen, "etag")));
        let body = json!({"path": "/b", "content": "//4=", "encoding": "base64"});
        let binary = ws.client.post(&ws.path("/files"), body).await.expect(201).json();
        let seen = ws.client.get(&at(&binary)).await.expect(200).json();
        assert_eq!((&seen["content"], &seen["encoding"]), (&json!("//4="), &json!("base64")));
    });
}

#[test]
fn above_1_mib_content_is_null_and_content_ref_names_the_raw_bytes() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let edge = ws.create("/edge", &"e".repeat(1 << 20)).await;
        assert_eq!(ws.client.get(&at(&edge)).await.expect(200).json()["content"].as_str().map(str::len), Some(1 << 20));
        let content = "b".repeat((1 << 20) + 1);
        let big = ws.create("/big", &content).await;
        let seen = ws.client.get(&at(&big)).await.expect(200).json();
        assert!(seen["content"].is_null(), "content of {} bytes is null", content.len());
        assert_eq!(seen["content_ref"], format!("{}/raw", at(&big)));
        let raw = ws.client.get(&shape::text(&seen, "content_ref")).await.expect(200);
        assert!(raw.body == content.as_bytes());
    });
}

#[test]
fn raw_carries_the_headers_that_keep_it_harmless() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for (path, inline) in
            [("/page.html", false), ("/pic.svg", false), ("/app.js", false), ("/a.txt", true), ("/p.png", true)]
        {
            let file = ws.create(path, "<script>alert(1)</script>").await;
            let raw = ws.client.get(&format!("{}/raw", at(&file))).await.expect(200);
            assert_eq!(raw.header("x-content-type-options"), "nosniff", "{path}");
            assert!(raw.header("content-security-policy").contains("sandbox"), "{path}: {:?}", raw.headers);
            assert!(!raw.header("content-type").is_empty(), "{path}");
            assert_eq!(raw.header("etag"), format!("\"{}\"", shape::text(&file, "etag")), "{path}");
            let attached = raw.header("content-disposition").starts_with("attachment");
            // An SVG is an image that can carry scripts: either is right, as the sandbox policy covers it.
            assert!(attached != inline || path == "/pic.svg", "{path}: {:?}", raw.header("content-disposition"));
        }
    });
}

#[test]
fn raw_answers_ranges() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/digits", "0123456789").await;
        let ranged = async |range: &str| {
            let request = ws.client.request(Method::GET, &format!("{}/raw", at(&file))).header("range", range);
            ws.client.send(request).await
        };
        for (range, body, content_range) in [
            ("bytes=0-3", "0123", "bytes 0-3/10"),
            ("bytes=4-", "456789", "bytes 4-9/10"),
            ("bytes=-2", "89", "bytes 8-9/10"),
            ("bytes=5-500", "56789", "bytes 5-9/10"),
        ] {
            let part = ranged(range).await.expect(206);
            assert_eq!((&part.body[..], part.header("content-range")), (body.as_bytes(), content_range.to_owned()));
        }
        assert_eq!(ranged("bytes=10-").await.status, 416);
        assert_eq!(&ranged("lines=1-2").await.expect(200).body[..], b"0123456789");
    });
}

#[test]
fn put_file_takes_json_and_raw_bytes() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/a", "one").await;
        let put = ws.client.put(&at(&file), json!({"content": "two"})).await.expect(200).json();
        shape::file(&put);
        assert_eq!(put["id"], file["id"]);
        assert_ne!(put["etag"], file["etag"]);
        assert_eq!(ws.read("/a").await.as_deref(), Some(&b"two"[..]));
        let put = ws.client.put(&at(&file), json!({"content": "/w==", "encoding": "base64"})).await.expect(200).json();
        assert_eq!(put["size"], 1);
        let bytes: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
        let request = ws.client.request(Method::PUT, &at(&file)).header("content-type", "application/octet-stream");
        let put = ws.client.send(request.body(bytes.clone())).await.expect(200).json();
        assert_eq!(put["size"], bytes.len());
        assert!(ws.read("/a").await.as_deref() == Some(&bytes[..]));
        ws.client.put(&at(&file), json!({"contents": "x"})).await.refused_as_malformed();
    });
}

#[test]
fn if_match_makes_writes_moves_and_deletes_conditional() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/a", "one").await;
        let (path, first) = (at(&file), format!("\"{}\"", shape::text(&file, "etag")));
        let put = ws.client.request(Method::PUT, &path).header("if-match", &first).json(&json!({"content": "two"}));
        let second = format!("\"{}\"", shape::text(&ws.client.send(put).await.expect(200).json(), "etag"));
        let with = |method: Method, path: &str, body: Option<Value>, etag: &str| {
            let request = ws.client.request(method, path).header("if-match", etag);
            ws.client.send(match body {
                Some(body) => request.json(&body),
                None => request,
            })
        };
        let moved = format!("{path}/move");
        with(Method::PUT, &path, Some(json!({"content": "3"})), &first).await.problem(412, "version_conflict");
        with(Method::POST, &moved, Some(json!({"path": "/b"})), &first).await.problem(412, "version_conflict");
        with(Method::DELETE, &path, None, &first).await.problem(412, "version_conflict");
        assert_eq!(ws.read("/a").await.as_deref(), Some(&b"two"[..]));
        // Without it the last write wins.
        let _ = ws.client.put(&path, json!({"content": "last"})).await.expect(200);
        with(Method::POST, &moved, Some(json!({"path": "/b"})), &second).await.problem(412, "version_conflict");
        let third = format!("\"{}\"", shape::text(&ws.find("/a").await.expect("/a"), "etag"));
        let _ = with(Method::POST, &moved, Some(json!({"path": "/b"})), &third).await.expect(200);
        let third = format!("\"{}\"", shape::text(&ws.find("/b").await.expect("/b"), "etag"));
        let _ = with(Method::DELETE, &path, None, &third).await.expect(204);
        assert!(ws.paths().await.is_empty());
    });
}

#[test]
fn move_keeps_the_id_and_takes_a_directory_with_all_below_it() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/old/deep/a", "a").await;
        ws.create("/old/b", "b").await;
        let directory = ws.find("/old").await.expect("/old");
        let moved =
            ws.client.post(&format!("{}/move", at(&directory)), json!({"path": "/new"})).await.expect(200).json();
        shape::file(&moved);
        assert_eq!((&moved["id"], &moved["path"]), (&directory["id"], &json!("/new")));
        assert_eq!(ws.paths().await, ["/new", "/new/b", "/new/deep", "/new/deep/a"]);
        assert_eq!(ws.client.get(&at(&file)).await.expect(200).json()["path"], "/new/deep/a");
        ws.create("/taken", "x").await;
        ws.client.post(&format!("{}/move", at(&file)), json!({"path": "/taken"})).await.problem(409, "path_exists");
        let into_itself = ws.client.post(&format!("{}/move", at(&directory)), json!({"path": "/new/deep/new"})).await;
        assert!(
            (400..500).contains(&into_itself.status),
            "a directory can't move below itself: {}",
            into_itself.status
        );
        assert_eq!(ws.paths().await, ["/new", "/new/b", "/new/deep", "/new/deep/a", "/taken"]);
    });
}

#[test]
fn delete_takes_a_directory_with_all_below_it() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        ws.create("/d/e/f", "f").await;
        let kept = ws.create("/dx", "x").await;
        let directory = ws.find("/d").await.expect("/d");
        let _ = ws.client.delete(&at(&directory)).await.expect(204);
        assert_eq!(ws.paths().await, ["/dx"]);
        ws.client.get(&at(&directory)).await.problem_of_status(404);
        ws.client.delete(&at(&directory)).await.problem_of_status(404);
        let _ = ws.client.get(&at(&kept)).await.expect(200);
    });
}

#[test]
fn a_write_into_a_generated_folder_is_409_generated_folder() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for path in ["/node_modules/x.js", "/.venv/pyvenv.cfg", "/target/debug/a", "/src/__pycache__/m.pyc"] {
            ws.post_file(path, "x").await.problem(409, "generated_folder");
        }
        let file = ws.create("/a", "a").await;
        let into = json!({"path": "/node_modules/a"});
        ws.client.post(&format!("{}/move", at(&file)), into).await.problem(409, "generated_folder");
        ws.create("/targets/a", "a").await;
    });
}

#[test]
fn an_etag_is_the_contents_and_changes_with_it() {
    on_shared(async |arena| {
        let ws: Workspace = arena.workspace().await;
        let file = ws.create("/a", "one").await;
        let mut seen = std::collections::BTreeSet::from([shape::text(&file, "etag")]);
        for content in ["two", "three", "four"] {
            let put = ws.client.put(&at(&file), json!({"content": content})).await.expect(200).json();
            assert!(seen.insert(shape::text(&put, "etag")), "a fresh etag for a fresh content");
            let listed = ws.find("/a").await.expect("/a");
            assert_eq!(listed["etag"], put["etag"]);
        }
    });
}

#[test]
fn an_if_match_that_names_no_etag_is_met_by_nothing() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/a", "old").await;
        let path = format!("/api/files/{}", shape::text(&file, "id"));
        let etag = shape::text(&file, "etag");
        let put = async |condition: &str| {
            let request = ws.client.request(Method::PUT, &path).header("if-match", condition);
            ws.client.send(request.json(&json!({"content": "new"}))).await
        };
        for broken in ["", "\"", ",", "\"\"", &format!("W/\"{etag}\"")] {
            put(broken).await.problem(412, "version_conflict");
        }
        assert_eq!(ws.read("/a").await.as_deref(), Some(&b"old"[..]));
        let _ = put(&format!("\"x\", \"{etag}\"")).await.expect(200);
        let _ = put("*").await.expect(200);
    });
}

#[test]
fn a_tree_that_is_still_the_same_is_304() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let file = ws.create("/a.txt", "1").await;
        let ask = async |path: &str, etag: &str| {
            ws.client.send(ws.client.request(Method::GET, path).header("if-none-match", etag)).await
        };
        let paths = [ws.path("/files"), ws.path("/files?limit=1"), ws.path("/files?prefix=/a.txt"), ws.path("")];
        let mut etags = Vec::new();
        for path in &paths {
            let etag = ws.client.get(path).await.expect(200).header("etag");
            let same = ask(path, &etag).await.expect(304);
            assert_eq!((same.body.len(), same.header("etag")), (0, etag.clone()), "{path}");
            let _ = ask(path, &format!("\"other\", W/{etag}")).await.expect(304);
            let _ = ask(path, "\"other\"").await.expect(200);
            etags.push(etag);
        }
        // The answer to one question is none to another.
        let _ = ask(&paths[0], &etags[2]).await.expect(200);
        let _ = ask(&ws.path("/files?all=true"), &etags[0]).await.expect(200);
        let _ = ws.client.put(&at(&file), json!({"content": "2"})).await.expect(200);
        for (path, etag) in paths.iter().zip(&etags) {
            assert_ne!(&ask(path, etag).await.expect(200).header("etag"), etag, "{path}");
        }
        let etag = ws.client.get(&paths[3]).await.expect(200).header("etag");
        let _ = ws.client.put(&ws.path(""), json!({"name": "another"})).await.expect(200);
        assert_eq!(ask(&paths[3], &etag).await.expect(200).json()["name"], "another");
        // Nor does it open anything to somebody else.
        let mallory = arena.user("mallory").await;
        let etag = ws.client.get(&paths[0]).await.expect(200).header("etag");
        let request = mallory.request(Method::GET, &paths[0]).header("if-none-match", etag);
        mallory.send(request).await.problem(404, "workspace_not_found");
    });
}
