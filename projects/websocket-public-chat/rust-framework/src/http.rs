//! The HTTP side: Axum's routes and their answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::{StatusCode, Version};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;

use crate::connection::{Connection, Purpose, limit, max_bytes};
use crate::room::Rooms;
use crate::server::Server;
use crate::session::Session;
use crate::socket::{Socket, Trace};
use crate::upgrade::{self, Headers, NO_UPGRADE, NOT_FOUND, NOT_GET, Refusal};

const MAX_HEAD_BYTES: usize = 16 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that the server answers.
pub fn routes(server: &Arc<Server>) -> Router {
    let mut router = Router::new()
        .route("/health", only_get(get(health)))
        .route("/metrics", only_get(get(metrics)))
        .route("/chat", only_get(get(chat)));
    if server.options.echo {
        router = router.route("/echo", only_get(get(echo)));
    }
    router
        .fallback(async || refuse(NOT_FOUND))
        .with_state(Arc::clone(server))
}

/// Axum would answer HEAD as it does GET.
fn only_get(route: MethodRouter<Arc<Server>>) -> MethodRouter<Arc<Server>> {
    route
        .head(async || refuse(NOT_GET))
        .fallback(async || refuse(NOT_GET))
}

/// Serves one connection until it ends or becomes a WebSocket.
pub async fn serve(stream: TcpStream, routes: Router) {
    let (socket, trace) = Socket::new(stream);
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&trace));
        routes.call(request)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    // An error has been answered already, or there is nobody left to hear of it.
    let _ = connection.with_upgrades().await;
}

async fn health() -> &'static str {
    "ok\n"
}

async fn metrics(State(server): State<Arc<Server>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], server.hub.metrics())
}

async fn chat(
    State(server): State<Arc<Server>>,
    Extension(trace): Extension<Arc<Trace>>,
    request: Request,
) -> Response {
    let outcome = become_websocket(&server, trace, request, true).await;
    outcome.unwrap_or_else(refuse)
}

async fn echo(
    State(server): State<Arc<Server>>,
    Extension(trace): Extension<Arc<Trace>>,
    request: Request,
) -> Response {
    let outcome = become_websocket(&server, trace, request, false).await;
    outcome.unwrap_or_else(refuse)
}

async fn become_websocket(
    server: &Arc<Server>,
    trace: Arc<Trace>,
    request: Request,
    is_chat: bool,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let is_http_11 = parts.version == Version::HTTP_11;
    upgrade::check(&parts.headers, is_http_11, &server.options)?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &());
    let upgrade = upgrade.await.map_err(|_| NO_UPGRADE)?;
    let id = server.hub.with(Rooms::connect).ok_or(upgrade::TOO_MANY)?;
    let max_bytes = max_bytes(is_chat, &server.options);
    trace.upgrade(max_bytes);

    let (forgotten, server) = (Arc::clone(&server.hub), Arc::clone(server));
    let upgrade = limit(upgrade, max_bytes);
    let upgrade = upgrade.on_failed_upgrade(move |_: axum::Error| {
        forgotten.disconnect(id, &crate::client::Tally::default());
    });
    Ok(upgrade.on_upgrade(move |socket| async move {
        let (hub, options) = (&server.hub, &server.options);
        let purpose = if is_chat {
            Purpose::Chat(Session::new(Arc::clone(hub), id, options, Instant::now()))
        } else {
            Purpose::Echo
        };
        let connection = Connection::new(socket, trace, Arc::clone(hub), id, purpose, options);
        connection.run().await;
    }))
}

impl Headers for HeaderMap {
    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

fn refuse(refusal: Refusal) -> Response {
    let mut response = Body::from(refusal.body).into_response();
    let status = StatusCode::from_u16(refusal.status);
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    for (name, value) in refusal.headers {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use tokio::runtime::Builder;

    async fn answer(routes: &Router, method: &str, path: &str) -> Response {
        let trace = Arc::new(Trace::default());
        let request = Request::builder().method(method).uri(path);
        let request = request.extension(trace).body(Body::empty());
        let service = TowerToHyperService::new(routes.clone());
        let answer = service.call(request.expect("a request")).await;
        answer.expect("every request has an answer")
    }

    #[test]
    fn statuses_and_headers() {
        let routes = routes(&Server::new(Options::default()));
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            for (method, path, status) in [
                ("GET", "/health", 200),
                ("GET", "/metrics?x", 200),
                ("HEAD", "/health", 405),
                ("POST", "/chat", 405),
                ("GET", "/chat", 426),
                ("GET", "/echo", 404),
                ("DELETE", "/", 404),
            ] {
                let response = answer(&routes, method, path).await;
                assert_eq!(response.status(), status, "{method} {path}");
            }
            let refused = answer(&routes, "PUT", "/metrics").await;
            assert_eq!(refused.headers()["allow"], "GET");
            let refused = answer(&routes, "GET", "/chat").await;
            assert_eq!(refused.headers()["upgrade"], "websocket");
        });
    }
}
