//! The OpenAPI document, gathered from the handlers, and the page that shows it.

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{
    Components, ContactBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, SecurityRequirement,
    Server,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::app::App;
use crate::rest::failure;

/// The document that the routers' operations are added to.
pub fn frame() -> OpenApi {
    let mut components = Components::new();
    let key = |name, description| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            name,
            description,
        )))
    };
    components.add_security_scheme("token", key("X-Auth-Token", "The `authToken` of a login."));
    components.add_security_scheme("user", key("X-User-Id", "The `userId` of a login."));
    failure::describe(&mut components);
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    let info = InfoBuilder::new()
        .title("Hansard")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Messaging for teams in which everything that happens is on the record. Everything \
             under `/api/v1` is Rocket.Chat's REST API; `/api/hansard/v1` is Hansard's own.",
        ))
        .contact(Some(
            ContactBuilder::new()
                .name(Some("The authors of Hansard"))
                .build(),
        ))
        .license(Some(license))
        .build();
    let login = SecurityRequirement::new("token", [""; 0]).add("user", [""; 0]);
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .servers(Some([Server::new("/")]))
        .security(Some([login]))
        .build()
}

/// Where the browsable page is, and everything that belongs to it.
pub const PAGE: &str = "/api-docs";

const DOCUMENT: &str = "/api-docs/openapi.json";

/// The browsable page, and the document it shows. Everything comes from the binary, or is written once:
/// an answer takes no memory of its own.
pub fn page(document: &OpenApi) -> serde_json::Result<Router<App>> {
    let json = Bytes::from(serde_json::to_vec(document)?);
    let kind = HeaderValue::from_static("application/json");
    let document = get(async move || ([(CONTENT_TYPE, kind.clone())], json.clone()));
    let page = SwaggerUi::new(PAGE).config(Config::from(DOCUMENT));
    Ok(Router::from(page).route(DOCUMENT, document))
}
