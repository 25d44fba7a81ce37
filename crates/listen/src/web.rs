//! HTTP for what is pushed: connections are bounded in number, requests in size, time and in what they hold of memory together;
//! where there is a token, a sender must know it.

use crate::{Connection, Listener, Tls, WebSettings, accept};
use axum::{
    Extension, Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use serde_json::json;
use std::{io::Read, net::IpAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

/// How long a request's headers may take.
const HEADERS: Duration = Duration::from_secs(10);
/// How long a request may take, with its answer.
const REQUEST: Duration = Duration::from_mins(1);
/// A connection over which nothing comes is asked so often whether it still is one (HTTP/2).
const KEEPALIVE: Duration = Duration::from_mins(1);
/// So many of the largest requests are in hand at once; of others more.
const LARGEST_AT_ONCE: usize = 8;
/// What requests are counted in, in bytes.
const UNIT: usize = 1 << 10;
/// What is spoken inside of TLS, in the form of ALPN.
pub const PROTOCOLS: &[u8] = b"\x02h2\x08http/1.1";
/// When senders should come again that are told to wait, in seconds.
pub const RETRY_AFTER: u64 = 1;

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub struct From(
    /// Its address; an IPv4 address as one, however it came.
    pub IpAddr,
);

/// A request that is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// The answer's.
    pub status: StatusCode,
    /// Its name in metrics, and in the answer.
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Turned {
    /// With these words.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        let answer = Json(json!({ "error": { "code": self.code, "message": self.message } }));
        (self.status, answer).into_response()
    }
}

/// What requests pass before they are looked at.
struct Door {
    listener: Listener,
    settings: WebSettings,
    /// What they may hold together, in units.
    room: Arc<Semaphore>,
}

/// `router`, where requests are held against the settings' token and bounds before they are looked at.
pub fn behind_door(router: Router, listener: Listener, settings: WebSettings) -> Router {
    let units = LARGEST_AT_ONCE * units(settings.max_body);
    let door = Door { listener, settings, room: Arc::new(Semaphore::new(units)) };
    router.layer(middleware::from_fn_with_state(Arc::new(door), pass))
}

/// Serves `router` behind the door until the stop, and then waits for the answers that are due.
pub async fn serve(
    socket: TcpListener,
    tls: Option<Tls>,
    router: Router,
    listener: Listener,
    settings: WebSettings,
) {
    let most = settings.max_connections;
    let router = behind_door(router, listener.clone(), settings);
    serve_all(socket, tls, router, listener, most).await;
}

/// Serves `router` to all who come, `max_connections` at once, until the stop, and then waits for the answers that are due.
pub async fn serve_all(
    socket: TcpListener,
    tls: Option<Tls>,
    router: Router,
    listener: Listener,
    max_connections: usize,
) {
    let places = Arc::new(Semaphore::new(max_connections));
    let serve = {
        let listener = listener.clone();
        move |connection| answer(connection, router.clone(), listener.clone())
    };
    accept(socket, tls, listener, places, serve).await;
}

/// One connection, of either version of HTTP.
async fn answer(connection: Connection, router: Router, listener: Listener) {
    let Connection { stream, from, .. } = connection;
    let router = router.layer(Extension(From(from.ip().to_canonical())));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEPALIVE);
    let served =
        builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = listener.stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(listener = %listener.name, %from, error, "the connection broke");
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).max(1)
}

/// Looks at the token and waits for room.
async fn pass(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let Door { listener, settings, room } = &*door;
    let turned = |turned: Turned| {
        (listener.turned_away)(turned.code);
        turned.into_response()
    };
    if !knows(request.headers(), settings) {
        let why = "the request needs the header `authorization: Bearer TOKEN`";
        let mut answer = turned(Turned::new(StatusCode::UNAUTHORIZED, "unauthorized", why));
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        return answer;
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > settings.max_body) {
        return turned(too_large(settings.max_body));
    }
    // Who does not say how much it is may bring as much as is allowed; what is packed, too.
    let packed = request.headers().contains_key(header::CONTENT_ENCODING);
    let held = length.filter(|_| !packed).unwrap_or(settings.max_body);
    let answered = timeout(REQUEST, async {
        // Never closed.
        let _room = Arc::clone(room).acquire_many_owned(units(held) as u32).await.ok();
        next.run(request).await
    });
    answered.await.unwrap_or_else(|_| {
        // As something that may be tried again: OTLP's senders give up on 408.
        let why = "the request took too long, or too many others were in hand";
        let turned = turned(Turned::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", why));
        ([(header::RETRY_AFTER, RETRY_AFTER.to_string())], turned).into_response()
    })
}

fn knows(headers: &HeaderMap, settings: &WebSettings) -> bool {
    let Some(token) = &settings.token else { return true };
    let given = headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes).unwrap_or_default();
    let given = given.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    let (given, token) = (given.map(|(_, given)| given).unwrap_or_default(), token.expose().as_bytes());
    // In a time that tells nothing of the token but its length.
    given.len() == token.len() && openssl::memcmp::eq(given, token)
}

fn too_large(max_body: usize) -> Turned {
    let why = format!("a request may have {max_body} bytes, unpacked (max_body)");
    Turned::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", why)
}

/// A request's body, as it came.
#[derive(Debug)]
pub struct Received {
    bytes: Bytes,
    gzip: bool,
    max_body: usize,
}

/// Takes a request's body in.
///
/// # Errors
/// It is too large, packed in a way that nobody here knows, or did not come whole.
pub async fn receive(headers: &HeaderMap, body: Body, max_body: usize) -> Result<Received, Turned> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(header::HeaderValue::as_bytes);
    let gzip = match encoding.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(other) => {
            let why = format!("content-encoding {:?} is not known; gzip is", String::from_utf8_lossy(other));
            return Err(Turned::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoding", why));
        }
    };
    match to_bytes(body, max_body).await {
        Ok(bytes) => Ok(Received { bytes, gzip, max_body }),
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                if error.is::<http_body_util::LengthLimitError>() {
                    return Err(too_large(max_body));
                }
                cause = error.source();
            }
            Err(Turned::new(StatusCode::BAD_REQUEST, "body", format!("the body did not come: {error}")))
        }
    }
}

impl Received {
    /// Unpacked. Computes for as long as that takes.
    ///
    /// # Errors
    /// It is no gzip, or too large once it is unpacked.
    pub fn plain(self) -> Result<Bytes, Turned> {
        if !self.gzip {
            return Ok(self.bytes);
        }
        let mut plain = Vec::new();
        let mut limited = MultiGzDecoder::new(&self.bytes[..]).take(self.max_body as u64 + 1);
        match limited.read_to_end(&mut plain) {
            Ok(_) if plain.len() > self.max_body => Err(too_large(self.max_body)),
            Ok(_) => Ok(plain.into()),
            Err(error) => {
                Err(Turned::new(StatusCode::BAD_REQUEST, "encoding", format!("the body is no gzip: {error}")))
            }
        }
    }
}

/// What is heavy is done beside the tasks that listen.
///
/// # Errors
/// As the work's own, or it panicked.
pub async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Turned> + Send + 'static,
) -> Result<T, Turned> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request could not be read");
        Err(Turned::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request could not be read"))
    })
}
