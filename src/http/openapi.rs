//! The contract as OpenAPI 3.1, from the handlers themselves: at `/api/openapi.json`, and for people at `/api/docs`.

use axum::http::StatusCode;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    admin,
    app::App,
    archive, files, links, login, me, members, output,
    problem::{PROBLEM_JSON, ProblemBody},
    processes, raw, sandboxes, share, stream, workspaces,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Playhouse", description = "The wire contract, version 1."),
    components(schemas(ProblemBody)),
    modifiers(&Security),
    security(("bearer" = []), ("session" = []))
)]
struct Contract;

struct Security;

impl Modify for Security {
    fn modify(&self, contract: &mut utoipa::openapi::OpenApi) {
        let components = contract.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("PASETO").build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::new("playhouse_session"));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    }
}

/// Every route of the contract, with its description.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Contract::openapi())
        .routes(routes!(login::login))
        .routes(routes!(login::logout))
        .routes(routes!(me::me))
        .routes(routes!(me::list_templates))
        .routes(routes!(me::list_instance_types))
        .routes(routes!(workspaces::create_workspace, workspaces::list_workspaces))
        .routes(routes!(workspaces::get_workspace, workspaces::update_workspace, workspaces::delete_workspace))
        .routes(routes!(members::list_members))
        .routes(routes!(members::put_member, members::remove_member))
        .routes(routes!(links::create_link, links::list_links))
        .routes(routes!(links::remove_link))
        .routes(routes!(share::share_page, share::accept_share))
        .routes(routes!(files::list_files, files::create_files))
        .routes(routes!(files::get_file, files::put_file, files::delete_file))
        .routes(routes!(raw::get_raw))
        .routes(routes!(files::move_file))
        .routes(routes!(archive::get_archive))
        .routes(routes!(processes::run))
        .routes(routes!(processes::list_processes))
        .routes(routes!(processes::get_process))
        .routes(routes!(processes::input))
        .routes(routes!(processes::signal))
        .routes(routes!(processes::resize))
        .routes(routes!(processes::cancel))
        .routes(routes!(output::get_output))
        .routes(routes!(sandboxes::ensure_sandbox))
        .routes(routes!(sandboxes::get_status))
        .routes(routes!(sandboxes::create_token))
        .routes(routes!(sandboxes::suspend))
        .routes(routes!(sandboxes::resume))
        .routes(routes!(sandboxes::end_sandbox))
        .routes(routes!(stream::open_stream))
        .routes(routes!(admin::healthz))
        .routes(routes!(admin::readyz))
}

/// What every POST takes.
fn idempotency_key() -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(128));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some("A retry with the same key and body within 24 hours gets the first answer again"))
        .schema(Some(text))
        .build()
}

/// Adds what is the same for all operations: every one may answer a problem, every POST takes an idempotency key, and
/// an answer without a description, which OpenAPI asks for, is described by its status.
pub fn complete(contract: &mut utoipa::openapi::OpenApi) {
    let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
    let problem = ResponseBuilder::new()
        .description("A problem (RFC 9457)")
        .content(PROBLEM_JSON, ContentBuilder::new().schema(Some(schema)).build())
        .build();
    for item in contract.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    let status = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
                    response.description =
                        status.and_then(|status| status.canonical_reason()).unwrap_or("An answer").to_owned();
                }
            }
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem.clone()));
        }
        if let Some(post) = &mut item.post {
            post.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
        }
    }
}

/// The contract.
#[must_use]
pub fn contract() -> utoipa::openapi::OpenApi {
    let mut contract = routes().into_openapi();
    complete(&mut contract);
    contract
}

/// The contract as it is committed in `web/openapi.json`.
///
/// # Panics
/// Never: a contract is plain data.
#[must_use]
pub fn contract_json() -> String {
    let mut text = contract().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_contract_is_described() {
        let contract = contract();
        for (path, methods) in [
            ("/api/me", "get"),
            ("/api/workspaces", "get post"),
            ("/api/workspaces/{id}", "get put delete"),
            ("/api/workspaces/{id}/members", "get"),
            ("/api/workspaces/{id}/members/{user}", "put delete"),
            ("/api/workspaces/{id}/links", "get post"),
            ("/api/workspaces/{id}/links/{link}", "delete"),
            ("/api/workspaces/{id}/files", "get post"),
            ("/api/files/{id}", "get put delete"),
            ("/api/files/{id}/raw", "get"),
            ("/api/files/{id}/move", "post"),
            ("/api/workspaces/{id}/archive", "get"),
            ("/api/workspaces/{id}/run", "post"),
            ("/api/workspaces/{id}/processes", "get"),
            ("/api/processes/{id}", "get"),
            ("/api/processes/{id}/input", "post"),
            ("/api/processes/{id}/signal", "post"),
            ("/api/processes/{id}/resize", "post"),
            ("/api/processes/{id}/cancel", "post"),
            ("/api/processes/{id}/output", "get"),
            ("/api/workspaces/{id}/sandbox", "post"),
            ("/api/sandboxes/{id}/status", "get"),
            ("/api/sandboxes/{id}/token", "post"),
            ("/api/sandboxes/{id}/suspend", "post"),
            ("/api/sandboxes/{id}/resume", "post"),
            ("/api/sandboxes/{id}", "delete"),
            ("/api/instance-types", "get"),
            ("/api/templates", "get"),
            ("/api/stream/{sandbox_id}", "get"),
        ] {
            let item = contract.paths.paths.get(path).unwrap_or_else(|| panic!("{path} is missing"));
            let there = [(&item.get, "get"), (&item.put, "put"), (&item.post, "post"), (&item.delete, "delete")];
            for (operation, method) in there {
                assert_eq!(operation.is_some(), methods.split(' ').any(|wanted| wanted == method), "{method} {path}");
            }
        }
    }

    #[test]
    fn the_committed_contract_is_the_handlers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/web/openapi.json");
        let committed = std::fs::read_to_string(path).expect("web/openapi.json is committed");
        assert!(committed == contract_json(), "web/openapi.json is stale: run `playhouse openapi > web/openapi.json`");
    }
}
