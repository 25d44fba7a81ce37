//! An S3 server for tests, in this process: `s3s` speaks the protocol and checks signatures, `s3s-fs` keeps objects as
//! files. It counts requests by kind, and does wrong what it is told to.

use bytes::Bytes;
use hyper::{
    Method, Request, Response,
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    task::{Context, Poll},
    thread,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The bucket that is there.
pub const BUCKET: &str = "millrace-test";
/// The credentials that it takes.
pub const ACCESS_KEY_ID: &str = "AKIATESTMILLRACE";
/// The secret of [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "test/secret+of=millrace";

/// What is asked of an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An object in one piece.
    Put,
    /// The start of an upload in parts.
    CreateUpload,
    /// A part.
    PutPart,
    /// The end of an upload in parts: from here on the object is there.
    CompleteUpload,
    /// An upload in parts is given up.
    AbortUpload,
    /// Bytes of an object.
    Get,
    /// Whether there is an object, and how large it is.
    Head,
    /// Which objects there are.
    List,
    /// An object goes.
    Delete,
    /// Anything else.
    Other,
}

impl Kind {
    fn of(request: &Request<Incoming>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        match *request.method() {
            Method::PUT if has("partNumber") => Self::PutPart,
            Method::PUT => Self::Put,
            Method::POST if has("uploads") => Self::CreateUpload,
            Method::POST if has("uploadId") => Self::CompleteUpload,
            Method::DELETE if has("uploadId") => Self::AbortUpload,
            Method::DELETE => Self::Delete,
            Method::GET if has("list-type") => Self::List,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            _ => Self::Other,
        }
    }
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this status; nothing is done.
    Status(u16),
    /// It is done, but later.
    Slow(Duration),
    /// The connection is closed without an answer; nothing is done.
    Drop,
    /// It is done, and the connection closed in the middle of the answer's body.
    Cut,
    /// Nothing is done and nothing answered until [`S3Server::heal`]; then it is done.
    Hold,
}

#[derive(Debug)]
struct Rule {
    kinds: Vec<Kind>,
    fault: Fault,
    left: usize,
}

#[derive(Debug)]
struct State {
    service: S3Service,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<BTreeMap<Kind, usize>>,
    /// Raised by [`S3Server::heal`].
    healed: watch::Sender<u64>,
}

/// A running server with one bucket, [`BUCKET`]. Dropped: gone, with its objects.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    folder: TempDir,
    state: Arc<State>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl S3Server {
    /// Starts a server on a free port.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("millrace-s3-").tempdir().expect("a folder");
        fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("a folder of buckets"));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let state = Arc::new(State {
            service: builder.build(),
            rules: Mutex::default(),
            seen: Mutex::default(),
            healed: watch::Sender::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let (bound, address) = mpsc::sync_channel(1);
        let served = Arc::clone(&state);
        // A runtime of its own: the caller's may be of one thread that waits for an answer.
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
                bound.send(listener.local_addr().expect("a bound port")).expect("somebody waits");
                serve(listener, served, stopped).await;
            });
        });
        let address = address.recv().expect("the server's thread");
        Self { address, folder, state, stop, thread: Some(thread) }
    }

    /// Its address as a setting: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The lines of `[storage]` for a program that keeps bundles here, and copies in a folder.
    pub fn settings(&self, prefix: &str, copies: &Path) -> String {
        format!(
            "url = \"s3://{BUCKET}/{prefix}\"\nendpoint = \"{}\"\naccess_key_id = \"{ACCESS_KEY_ID}\"\n\
             secret_access_key = \"{SECRET_ACCESS_KEY}\"\ncache_dir = \"{}\"\ntimeout = \"3s\"\n",
            self.endpoint(),
            copies.display()
        )
    }

    /// The bucket as a folder, one file an object.
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }

    /// How many uploads in parts have begun and neither been completed nor aborted.
    ///
    /// # Panics
    /// When its folder cannot be read.
    pub fn open_uploads(&self) -> usize {
        let names = fs::read_dir(self.folder.path()).expect("the server's folder");
        names
            .filter(|entry| {
                let name = entry.as_ref().expect("an entry").file_name();
                name.to_string_lossy().starts_with(".upload-")
            })
            .count()
    }

    /// From now on the next `times` requests of these kinds go wrong; no kind means any.
    pub fn fail(&self, kinds: &[Kind], fault: Fault, times: usize) {
        lock(&self.state.rules).push(Rule { kinds: kinds.to_vec(), fault, left: times });
    }

    /// Everything goes right from now on, what was held included.
    pub fn heal(&self) {
        lock(&self.state.rules).clear();
        self.state.healed.send_modify(|times| *times += 1);
    }

    /// How many requests of a kind have come since the start or [`S3Server::forget`].
    pub fn requests(&self, kind: Kind) -> usize {
        lock(&self.state.seen).get(&kind).copied().unwrap_or(0)
    }

    /// How many requests have come since the start or [`S3Server::forget`], by kind.
    pub fn all_requests(&self) -> BTreeMap<Kind, usize> {
        lock(&self.state.seen).clone()
    }

    /// Counts from nought again.
    pub fn forget(&self) {
        lock(&self.state.seen).clear();
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.heal();
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the S3 server of tests panicked");
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<State>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(&state)))),
                Err(error) => eprintln!("the S3 server of tests: {error}"),
            },
            _ = stopped.changed() => return,
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    // What it does on purpose, and a client that goes away, are errors of the connection alone.
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    if let Err(error) = stream.set_nodelay(true) {
        eprintln!("the S3 server of tests: {error}");
    }
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> io::Result<Response<s3s::Body>> {
    let kind = Kind::of(&request);
    *lock(&state.seen).entry(kind).or_insert(0) += 1;
    let mut healed = state.healed.subscribe();
    let fault = next_fault(&state, kind);
    match fault {
        Some(Fault::Status(status)) => return Ok(refusal(status)),
        Some(Fault::Drop) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::Hold) => drop(healed.changed().await),
        Some(Fault::Cut) | None => {}
    }
    let response = hyper::service::Service::call(&state.service, request).await;
    let response = response.map_err(|error| io::Error::other(format!("{error:?}")))?;
    Ok(if fault == Some(Fault::Cut) { cut(response) } else { response })
}

fn next_fault(state: &State, kind: Kind) -> Option<Fault> {
    let mut rules = lock(&state.rules);
    let rule = rules
        .iter_mut()
        .find(|rule| rule.left > 0 && (rule.kinds.is_empty() || rule.kinds.contains(&kind)))?;
    rule.left -= 1;
    Some(rule.fault)
}

fn refusal(status: u16) -> Response<s3s::Body> {
    let code = if status == 503 { "SlowDown" } else { "InternalError" };
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as told</Message></Error>");
    let body = s3s::Body::from(Bytes::from(body));
    Response::builder().status(status).header("content-type", "application/xml").body(body).expect("a status")
}

fn cut(response: Response<s3s::Body>) -> Response<s3s::Body> {
    let length =
        response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    response.map(|body| {
        let left = length.unwrap_or(body.size_hint().lower()) / 2;
        s3s::Body::http_body_unsync(Half { body, left })
    })
}

/// The first half of a body, then an error.
struct Half {
    body: s3s::Body,
    left: u64,
}

impl Body for Half {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(Some(Err("cut, as told".into())));
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(|error| -> Self::Error { format!("{error:?}").into() })?;
            let Ok(mut data) = frame.into_data() else { return Err("cut, as told".into()) };
            data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= data.len() as u64;
            Ok(Frame::data(data))
        }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
