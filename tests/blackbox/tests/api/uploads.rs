//! `multipart/form-data`.

use playhouse_blackbox::{Answer, Workspace, on_shared, shape};
use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::json;

async fn upload(ws: &Workspace, query: &str, files: &[(&str, &[u8])]) -> Answer {
    let form = files.iter().fold(Form::new(), |form, (name, bytes)| {
        form.part("file", Part::bytes(bytes.to_vec()).file_name((*name).to_owned()))
    });
    ws.client.send(ws.client.request(Method::POST, &ws.path(&format!("/files{query}"))).multipart(form)).await
}

#[test]
fn each_part_is_a_file_below_the_prefix() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let answer = upload(&ws, "?prefix=/up", &[("a.bin", &[0, 255]), ("deep/b.txt", b"b")]).await.expect(201).json();
        let items = answer["items"].as_array().expect("items");
        items.iter().for_each(shape::file);
        let paths: Vec<_> = items.iter().map(|file| shape::text(file, "path")).collect();
        assert_eq!(paths, ["/up/a.bin", "/up/deep/b.txt"]);
        assert_eq!(ws.read("/up/a.bin").await.as_deref(), Some(&[0, 255][..]));
        let _ = upload(&ws, "", &[("root.txt", b"r")]).await.expect(201);
        assert_eq!(ws.read("/root.txt").await.as_deref(), Some(&b"r"[..]));
    });
}

#[test]
fn an_existing_path_is_409_and_nothing_is_written_unless_overwrite() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let old = ws.create("/b", "old").await;
        let files: &[(&str, &[u8])] = &[("a", b"new a"), ("b", b"new b"), ("c", b"new c")];
        upload(&ws, "", files).await.problem(409, "path_exists");
        assert_eq!(ws.paths().await, ["/b"]);
        assert_eq!(ws.read("/b").await.as_deref(), Some(&b"old"[..]));
        let _ = upload(&ws, "?overwrite=true", files).await.expect(201);
        assert_eq!(ws.paths().await, ["/a", "/b", "/c"]);
        let new = ws.find("/b").await.expect("/b");
        assert_eq!(new["id"], old["id"], "an overwritten file keeps its id");
        assert_eq!(ws.read("/b").await.as_deref(), Some(&b"new b"[..]));
    });
}

#[test]
fn a_filename_may_not_climb_out() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for name in ["../up", "a/../../b", "/etc/../x", "a//b", "a/"] {
            let answer = upload(&ws, "?prefix=/in", &[("fine", b"x"), (name, b"x")]).await;
            answer.problem(422, "path_invalid");
        }
        assert!(ws.paths().await.is_empty(), "nothing is written");
    });
}

#[test]
fn an_upload_without_a_filename_or_cut_short_is_refused() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let form = Form::new().part("file", Part::bytes(b"x".to_vec()));
        let request = ws.client.request(Method::POST, &ws.path("/files")).multipart(form);
        ws.client.send(request).await.refused_as_malformed();
        let cut = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nhalf";
        let request = ws
            .client
            .request(Method::POST, &ws.path("/files"))
            .header("content-type", "multipart/form-data; boundary=b");
        ws.client.send(request.body(cut)).await.refused_as_malformed();
        assert!(ws.paths().await.is_empty(), "nothing is written");
    });
}

#[test]
fn twenty_megabytes_go_up_and_come_down_whole() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let bytes: Vec<u8> = (0u32..5 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let _ = upload(&ws, "", &[("big.bin", &bytes)]).await.expect(201);
        let back = ws.read("/big.bin").await.expect("/big.bin");
        assert_eq!(blake3::hash(&back), blake3::hash(&bytes));
    });
}

#[test]
fn five_hundred_files_in_one_upload_are_one_answer() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let names: Vec<String> = (0..500).map(|n| format!("many/{n:03}.txt")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, name.as_bytes())).collect();
        let answer = upload(&ws, "", &files).await.expect(201).json();
        assert_eq!(answer["items"].as_array().map(Vec::len), Some(500));
        assert_eq!(ws.files().await.len(), 501);
        assert_eq!(ws.read("/many/123.txt").await.as_deref(), Some(&b"many/123.txt"[..]));
    });
}

#[test]
fn an_upload_into_a_generated_folder_is_409() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        upload(&ws, "", &[("node_modules/a.js", b"x")]).await.problem(409, "generated_folder");
        ws.client.post(&ws.path("/files"), json!({"path": "/ok", "content": "x"})).await.expect(201).json();
    });
}

#[test]
fn a_part_may_be_named_by_an_exact_filename_alone() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let send = async |disposition: &str| {
            let body =
                format!("--b\r\ncontent-disposition: form-data; name=\"f\"; {disposition}\r\n\r\nhi\r\n--b--\r\n");
            let request = ws.client.request(Method::POST, &ws.path("/files?prefix=/in"));
            ws.client.send(request.header("content-type", "multipart/form-data; boundary=b").body(body)).await
        };
        let _ = send("filename*=utf-8''na%C3%AFve%20%E2%82%AC.txt").await.expect(201);
        assert_eq!(ws.read("/in/naïve €.txt").await.as_deref(), Some(&b"hi"[..]));
        send("filename*=utf-8''..%2F..%2Fup").await.problem(422, "path_invalid");
        send("filename*=utf-8''%FF").await.refused_as_malformed();
    });
}
