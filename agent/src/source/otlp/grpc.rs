//! OTLP over gRPC: the one method that there is for logs. tonic frames, unpacks and tells the status; the message's bytes are read
//! in place.

use super::{Shared, status, status::Status};
use crate::source::pushed::Later;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use bytes::{Buf, BufMut, Bytes};
use millrace_listen::{Turned, beside};
use millrace_model::wire;
use prost::Message;
use std::{pin::Pin, sync::Arc};
use tonic::{
    Code,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, UnaryService},
};

const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(EXPORT, post(export))
        .fallback(|| async {
            tonic::Status::unimplemented("logs are taken, and nothing else").into_http::<Body>()
        })
        .with_state(shared)
}

async fn export(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let max_body = shared.max_body;
    let mut grpc =
        Grpc::new(Raw).accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(max_body);
    grpc.unary(Export(shared), request).await.map(Body::new)
}

/// The method.
struct Export(Arc<Shared>);

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, tonic::Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let (message, reading) = (request.into_inner(), Arc::clone(&shared));
            let records = beside(move || reading.encode(wire::decode_otlp(&message))).await;
            let records = records.map_err(|Turned { code, message, .. }| {
                shared.inlet.rejected(code);
                tonic::Status::invalid_argument(message)
            })?;
            match shared.put(records).await {
                Ok(taken) => Ok(tonic::Response::new(status::success(taken).encode_to_vec().into())),
                Err(Later(why)) => {
                    let details = Status::unavailable(&why).encode_to_vec();
                    Err(tonic::Status::with_details(Code::Unavailable, why, details.into()))
                }
            }
        })
    }
}

/// Messages as the bytes that they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
