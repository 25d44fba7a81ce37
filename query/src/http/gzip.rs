//! Answers are gzipped for those who take it, where they are long enough to gain.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

const WORTH_IT: usize = 1 << 10;
const LARGEST: usize = 64 << 20;

/// Compresses the body of an answer, if its asker accepts gzip.
pub async fn compress(request: Request, next: Next) -> Response {
    let accepts = request
        .headers()
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(is_gzip));
    let response = next.run(request).await;
    let length =
        response.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    // Bodies without a length are streams: they go out as they come.
    if !accepts || !length.is_some_and(|length| (WORTH_IT..=LARGEST).contains(&length)) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, LARGEST).await else { return Response::from_parts(parts, Body::empty()) };
    match gzip(&bytes) {
        Ok(packed) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
            Response::from_parts(parts, Body::from(packed))
        }
        Err(_) => Response::from_parts(parts, Body::from(bytes)),
    }
}

/// `gzip`, and not with a weight of zero.
fn is_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    parts.next() == Some("gzip")
        && !parts.any(|p| p.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0))
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn only_those_who_accept_it() {
        assert!(is_gzip(" gzip"));
        assert!(is_gzip("gzip;q=0.5"));
        assert!(!is_gzip("gzip;q=0"));
        assert!(!is_gzip("br"));
    }

    #[test]
    fn what_is_packed_unpacks() {
        let text = b"hello ".repeat(1000);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*gzip(&text).unwrap()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, text);
    }
}
