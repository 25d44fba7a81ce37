//! `[receive]`: where agents of other hosts reach this one's topic, over TLS and with a token. Without it they reach it where people do.

use millrace_config::Section;
use millrace_listen::{Listener, PROTOCOLS, WebSettings, serve};
use millrace_transport::{Topic, router};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// The largest request by default, unpacked, in bytes: more than the largest message of an embedded topic.
const MAX_BODY: usize = 16 << 20;

/// `[receive]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    listen: SocketAddr,
    web: WebSettings,
}

impl Settings {
    /// Reads `[receive]`, if it is there.
    pub(crate) fn read(section: Option<Section<'_>>) -> Option<Self> {
        let mut section = section?;
        let web =
            WebSettings::read(&mut section, &WebSettings { max_body: MAX_BODY, ..WebSettings::default() });
        let listen = section.listen(SocketAddr::from(([127, 0, 0, 1], 7703)), web.unguarded());
        Some(Self { listen, web })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Listens for agents of other hosts, if that is wanted.
pub(crate) async fn start(
    settings: Option<&Settings>,
    topic: &Topic,
    registry: &mut Registry,
    stop: CancellationToken,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let Some(Settings { listen, web }) = settings else { return Ok(()) };
    let (open, turned_away) = (Gauge::default(), Family::<Reason, Counter>::default());
    let metrics = registry.sub_registry_with_prefix("millrace_receive");
    metrics.register("connections", "Open connections of other hosts' agents", open.clone());
    metrics.register(
        "rejected_requests",
        "Requests and connections of other hosts' agents that were turned away, by reason",
        turned_away.clone(),
    );
    let listener = Listener {
        name: "receive".into(),
        stop,
        open,
        turned_away: Arc::new(move |reason| {
            turned_away.get_or_create(&Reason { reason }).inc();
        }),
    };
    let tls = listener.tls(web.tls.as_ref(), PROTOCOLS)?;
    let socket = listener.bind(listen, || TcpListener::bind(*listen)).await?;
    let (router, web) = (router(topic), web.clone());
    tasks.spawn(async move {
        serve(socket, tls, router, listener, web).await;
        Ok(())
    });
    Ok(())
}
