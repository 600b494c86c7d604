//! The tree as one file, opened by other people's tools.

use std::{fs, path::Path, process::Command};

use playhouse_blackbox::{Workspace, on_shared};
use reqwest::Method;

/// A tree with everything that is awkward in archives.
async fn awkward(ws: &Workspace) {
    ws.create("/src/main.py", "print('hi')\n").await;
    ws.create("/sp ace/ünï.txt", "ü").await;
    ws.create("/empty", "").await;
    let random: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = ws.create("/random.bin", "x").await;
    let path = format!("/api/files/{}", file["id"].as_str().expect("an id"));
    let put = ws.client.request(Method::PUT, &path).header("content-type", "application/octet-stream").body(random);
    let _ = ws.client.send(put).await.expect(200);
}

async fn check(ws: &Workspace, root: &Path) {
    for path in ["/src/main.py", "/sp ace/ünï.txt", "/empty", "/random.bin"] {
        let expected = ws.read(path).await.expect(path);
        let got = fs::read(root.join(&path[1..])).unwrap_or_else(|error| panic!("{path} in the archive: {error}"));
        assert!(got == expected, "{path} is not the same");
    }
}

fn run(program: &str, arguments: &[&str], directory: &Path) {
    let done = Command::new(program).args(arguments).current_dir(directory).output().expect(program);
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn the_archive_is_a_zip_that_unzip_takes() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        awkward(&ws).await;
        let answer = ws.client.get(&ws.path("/archive")).await.expect(200);
        assert!(answer.header("content-type").contains("zip"), "{:?}", answer.headers);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("tree.zip");
        fs::write(&file, &answer.body).expect("written");
        let out = directory.path().join("out");
        fs::create_dir(&out).expect("made");
        run("unzip", &["-q", "-o", file.to_str().expect("UTF-8"), "-d", "."], &out);
        check(&ws, &out).await;
    });
}

#[test]
fn the_archive_is_a_tar_zst_on_request() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        awkward(&ws).await;
        let _ = ws.sh("ln -s src/main.py link; printf '#!/bin/sh\\n' > run.sh; chmod +x run.sh").await.good();
        playhouse_blackbox::wait::until("the link in the tree", async || {
            let (link, script) = (ws.find("/link").await?, ws.find("/run.sh").await?);
            (link["symlink_target"] == "src/main.py" && script["executable"] == true).then_some(())
        })
        .await;
        let answer = ws.client.get(&ws.path("/archive?format=tar.zst")).await.expect(200);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("tree.tar.zst");
        fs::write(&file, &answer.body).expect("written");
        let out = directory.path().join("out");
        fs::create_dir(&out).expect("made");
        run("tar", &["--zstd", "-xf", file.to_str().expect("UTF-8")], &out);
        check(&ws, &out).await;
        assert_eq!(fs::read_link(out.join("link")).expect("a link"), Path::new("src/main.py"));
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(out.join("run.sh")).expect("run.sh").permissions().mode();
        assert_ne!(mode & 0o100, 0, "run.sh is executable: {mode:o}");
    });
}

#[test]
fn an_empty_workspace_is_a_valid_archive_and_an_unknown_format_is_refused() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let answer = ws.client.get(&ws.path("/archive")).await.expect(200);
        assert!(answer.body.starts_with(b"PK"), "a zip begins with PK, an empty one too");
        let _ = ws.client.get(&ws.path("/archive?format=tar.zst")).await.expect(200);
        ws.client.get(&ws.path("/archive?format=rar")).await.refused_as_malformed();
    });
}
