//! Tokens, the browser's link and cookie, CSRF, health.

use playhouse_blackbox::{Answer, Arena, Client, cli, client::Identity, on_own, on_shared, shape};
use reqwest::Method;
use serde_json::json;

#[test]
fn me_answers_id_name_org_and_tier() {
    on_shared(async |arena| {
        let user = arena.user("me").await;
        let me = user.get("/api/me").await.expect(200).json();
        let _ = (shape::id(&me, "id"), shape::id(&me, "org_id"));
        assert_eq!(me["name"], user.name);
        assert!(["free", "paid"].contains(&&*shape::text(&me, "tier")), "{me}");
    });
}

#[test]
fn users_without_an_org_share_one_and_others_have_their_own() {
    on_shared(async |arena| {
        let org = format!("org-{:08x}", rand::random::<u32>());
        let (a, b) = (arena.user("a").await, arena.user("b").await);
        let (c, d) = (arena.user_with("c", &["--org", &org]).await, arena.user_with("d", &["--org", &org]).await);
        let mut orgs = Vec::new();
        for client in [&a, &b, &c, &d] {
            orgs.push(shape::id(&client.get("/api/me").await.expect(200).json(), "org_id"));
        }
        assert_eq!(orgs[0], orgs[1]);
        assert_eq!(orgs[2], orgs[3]);
        assert_ne!(orgs[0], orgs[2]);
    });
}

#[test]
fn the_tier_is_what_the_operator_said() {
    on_shared(async |arena| {
        let paid = arena.user_with("rich", &["--tier", "paid"]).await;
        assert_eq!(paid.get("/api/me").await.expect(200).json()["tier"], "paid");
        let _ = Client::of_user(arena.server(), &paid.name, &["--tier", "free"]).await;
        assert_eq!(paid.get("/api/me").await.expect(200).json()["tier"], "free", "from now on, whatever the token");
    });
}

#[test]
fn a_second_token_is_the_same_user() {
    on_shared(async |arena| {
        let user = arena.user("twice").await;
        let again = Client::of_user(arena.server(), &user.name, &[]).await;
        let (first, second) =
            (user.get("/api/me").await.expect(200).json(), again.get("/api/me").await.expect(200).json());
        assert_eq!(first, second);
    });
}

#[test]
fn an_expired_token_is_401() {
    on_shared(async |arena| {
        let user = arena.user_with("brief", &["--ttl", "1s"]).await;
        playhouse_blackbox::wait::until("the token to expire", async || {
            (user.get("/api/me").await.status == 401).then_some(())
        })
        .await;
    });
}

async fn login_link(arena: &Arena, name: &str) -> String {
    let data = arena.server().data().to_string_lossy().into_owned();
    cli::run(&["login", "--user", name, "--data-dir", &data]).await.expect(0).line().to_owned()
}

/// The cookie pairs that an answer sets.
fn cookies(answer: &Answer) -> Vec<String> {
    answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("ASCII").to_owned()).collect()
}

async fn browser(arena: &Arena, name: &str) -> Client {
    let nobody = arena.nobody();
    let answer = nobody.get(&login_link(arena, name).await).await;
    assert!((200..400).contains(&answer.status), "the link answers {}: {}", answer.status, answer.start());
    let pairs: Vec<String> =
        cookies(&answer).iter().map(|c| c.split(';').next().unwrap_or_default().to_owned()).collect();
    assert!(!pairs.is_empty(), "the link sets a cookie: {:?}", answer.headers);
    nobody.with(Identity::Cookie(pairs.join("; ")))
}

#[test]
fn a_login_link_sets_a_lax_http_only_cookie_that_signs_in() {
    on_shared(async |arena| {
        let nobody = arena.nobody();
        let answer = nobody.get(&login_link(arena, "ada").await).await;
        let set = cookies(&answer);
        assert!(set.iter().any(|c| c.contains("HttpOnly") && c.contains("SameSite=Lax")), "{set:?}");
        let pairs: Vec<_> = set.iter().filter_map(|c| c.split(';').next()).collect();
        let browser = nobody.with(Identity::Cookie(pairs.join("; ")));
        assert_eq!(browser.get("/api/me").await.expect(200).json()["name"], "ada");
    });
}

#[test]
fn a_login_link_works_once() {
    on_shared(async |arena| {
        let link = login_link(arena, "bob").await;
        let nobody = arena.nobody();
        let first = nobody.get(&link).await;
        assert!(!cookies(&first).is_empty());
        let second = nobody.get(&link).await;
        let pairs: Vec<_> = cookies(&second).iter().filter_map(|c| c.split(';').next().map(str::to_owned)).collect();
        let browser = nobody.with(Identity::Cookie(pairs.join("; ")));
        browser.get("/api/me").await.problem_of_status(401);
        second.problem(401, "unauthenticated");
    });
}

#[test]
fn the_ready_lines_login_url_signs_in_as_admin() {
    on_own(&[], async |arena| {
        let nobody = arena.nobody();
        let answer = nobody.get(&arena.server().ready().login_url).await;
        let pairs: Vec<_> = cookies(&answer).iter().filter_map(|c| c.split(';').next().map(str::to_owned)).collect();
        let browser = nobody.with(Identity::Cookie(pairs.join("; ")));
        assert_eq!(browser.get("/api/me").await.expect(200).json()["name"], "admin");
    });
}

#[test]
fn a_write_by_cookie_from_another_site_is_403() {
    on_shared(async |arena| {
        let browser = browser(arena, "carol").await;
        let attack = |origin: &str, site: &str| {
            browser
                .request(Method::POST, "/api/workspaces")
                .header("origin", origin)
                .header("sec-fetch-site", site)
                .json(&json!({"name": "forged"}))
        };
        assert_eq!(browser.send(attack("https://evil.example", "cross-site")).await.status, 403);
        let old_browser = browser.request(Method::POST, "/api/workspaces").header("origin", "https://evil.example");
        assert_eq!(browser.send(old_browser.json(&json!({"name": "forged"}))).await.status, 403);
        assert!(browser.all("/api/workspaces", 100).await.is_empty(), "nothing was made");
    });
}

#[test]
fn a_write_by_cookie_from_the_own_page_is_taken() {
    on_shared(async |arena| {
        let browser = browser(arena, "dora").await;
        let request = browser
            .request(Method::POST, "/api/workspaces")
            .header("origin", arena.server().url())
            .header("sec-fetch-site", "same-origin")
            .json(&json!({"name": "mine"}));
        let made = browser.send(request).await.expect(201).json();
        let _ = arena.adopt(playhouse_blackbox::Workspace { client: browser.clone(), id: shape::id(&made, "id") });
    });
}

#[test]
fn a_bearer_is_not_bothered_by_csrf_protection() {
    on_shared(async |arena| {
        let user = arena.user("cli").await;
        let ws = arena.workspace_of(&user, "blank").await;
        assert_eq!(ws.get().await["role"], "owner");
    });
}

#[test]
fn a_forged_cookie_is_401() {
    on_shared(async |arena| {
        let real = browser(arena, "eve").await;
        let _ = real.get("/api/me").await.expect(200);
        let nobody = arena.nobody();
        for cookie in ["playhouse=x", "session=AAAA", "playhouse_session=admin"] {
            nobody.with(Identity::Cookie(cookie.into())).get("/api/me").await.problem_of_status(401);
        }
    });
}

#[test]
fn healthz_and_readyz_are_200_once_it_serves() {
    on_shared(async |arena| {
        let nobody = arena.nobody();
        let _ = nobody.get("/healthz").await.expect(200);
        let _ = nobody.get("/readyz").await.expect(200);
    });
}
