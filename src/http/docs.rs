//! The contract for people at `/api/docs`, and for programs at `/api/openapi.json`.

use axum::{Router, response::Html, routing::get};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use super::app::App;

/// Where the viewer's own files are.
const VIEWER: &str = "/api/docs/viewer";

/// The page names the viewer's files in full, so that it is the same with and without a slash at its end: the
/// viewer's own page would need a redirect.
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Playhouse API</title>
<link rel="stylesheet" href="/api/docs/viewer/swagger-ui.css">
<link rel="icon" href="/api/docs/viewer/favicon-32x32.png" sizes="32x32">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/api/docs/viewer/swagger-ui-bundle.js"></script>
<script src="/api/docs/viewer/swagger-ui-standalone-preset.js"></script>
<script src="/api/docs/viewer/swagger-initializer.js"></script>
</body>
</html>
"#;

async fn page() -> Html<&'static str> {
    Html(PAGE)
}

/// The routes.
pub fn router(contract: OpenApi) -> Router<App> {
    let viewer: Router<App> = SwaggerUi::new(VIEWER).url("/api/openapi.json", contract).into();
    viewer.route("/api/docs", get(page)).route("/api/docs/", get(page))
}
