//! Just enough HTTP to ask a server of ours as anybody would, and to be a receiver of its POSTs.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200, 404, …
    pub status: u16,
    /// Names (in small letters) and values.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// `GET path` at `address` (`host:port`).
///
/// # Errors
/// Nobody answers there, or not in HTTP.
pub fn get(address: &str, path: &str) -> io::Result<Answer> {
    send(address, "GET", path, &[], "")
}

/// `POST path` with a JSON body.
///
/// # Errors
/// As [`get`].
pub fn post(address: &str, path: &str, json: &str) -> io::Result<Answer> {
    send(address, "POST", path, &[("content-type", "application/json")], json)
}

/// Any request, with these headers besides its own.
///
/// # Errors
/// As [`get`].
pub fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (mut reader, mut answer) = begin(address, method, path, headers, body)?;
    reader.read_to_end(&mut answer.body)?;
    match answer.header("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) if length != answer.body.len() && method != "HEAD" => Err(bad("a whole body")),
        _ if answer.header("transfer-encoding") == Some("chunked") => {
            answer.body = unchunked(&answer.body).ok_or_else(|| bad("a whole body"))?;
            Ok(answer)
        }
        _ => Ok(answer),
    }
}

/// As [`send`], but of the answer only how it begins: its body may have no end.
///
/// # Errors
/// As [`get`].
pub fn begin(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<(impl BufRead + use<>, Answer)> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
    if !headers.iter().any(|(name, _)| *name == "connection") {
        request += "connection: close\r\n";
    }
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        request.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
    }
    request += "\r\n";
    request += body;
    let address: SocketAddr = address.parse().map_err(|_| bad("an address"))?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let (first, headers) = head(&mut reader)?;
    let status =
        first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad("a status line"))?;
    Ok((reader, Answer { status, headers, body: Vec::new() }))
}

/// A body out of its chunks, each behind its length in hexadecimal; `None`: the last one, of no length, is not there.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(end + 2..end + 2 + length)?);
        bytes = bytes.get(end + 4 + length..)?;
    }
}

/// The first line and the headers.
fn head(reader: &mut impl BufRead) -> io::Result<(String, Vec<(String, String)>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_default();
    let headers = lines.filter_map(|line| {
        line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok((first, headers.collect()))
}

/// What was posted, and when.
#[derive(Debug, Clone)]
pub struct Post {
    /// When it was there, whole.
    pub at: Instant,
    /// The headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

/// Takes POSTs on a free port of this machine and keeps them, in order. Dropped: gone.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    over: Arc<AtomicBool>,
}

impl Webhook {
    /// Starts it.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("a bound port");
        let (posts, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, end) = (Arc::clone(&posts), Arc::clone(&over));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let kept = Arc::clone(&kept);
                thread::spawn(move || stream.map(|stream| serve(stream, &kept)));
            }
        });
        Self { address, posts, over }
    }

    /// Where to post.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What has come so far.
    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees that it is over.
        if let Err(error) = TcpStream::connect(self.address) {
            eprintln!("the webhook's listener is gone already: {error}");
        }
    }
}

/// Answers the requests of one connection, until it ends or breaks.
fn serve(stream: TcpStream, posts: &Mutex<Vec<Post>>) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (_, headers) = head(&mut reader)?;
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .and_then(|(_, value)| value.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let post = Post { at: Instant::now(), headers, body: String::from_utf8_lossy(&body).into_owned() };
        posts.lock().unwrap_or_else(PoisonError::into_inner).push(post);
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
