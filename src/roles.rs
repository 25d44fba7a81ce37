//! The wiring: which concrete parts each role is made of. `up` is a different wiring of the same parts.

mod door;

use crate::{
    admin::{self, Admin, Reached},
    receive,
    reload::{self, Reread},
    settings::Settings,
    systemd,
};
use axum::Router;
use door::Guard;
use millrace_agent::{Ingest, Later};
use millrace_catalogue::Catalogue;
use millrace_cores::Cores;
use millrace_indexer::{HotLeaf, Indexer, rebuild};
use millrace_listen::{Asked, Callers, Role, asks, serve_all};
use millrace_model::{Clock, Grant, Sight, SystemClock};
use millrace_query::{
    HttpLeaf, HttpLeaves, Leaves, Searcher,
    alert::{
        Desk, DeskParts, Notifier, RuleBook, Scheduler, SchedulerParts, Watch, WatchParts, WatchStatus,
        copies, histories, receivers,
        schedule::{self, Bounds},
    },
    dead_letters::DeadLetters,
    elastic::{self, Collections, IndexKeeper, Put, Scrolls},
    hosts::Hosts,
    http::{
        Api,
        streams::{Kept, TopicKeeps},
    },
    login::Login,
    shards::OpenShards,
    tail::{Feed, FeedParts},
};
use millrace_storage::Bundles;
use millrace_store::Leaf;
use millrace_transport::Topic;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How long a role may take to stop before it is stopped.
const GRACE: Duration = Duration::from_secs(15);

/// How long closing the catalogue may take.
const CLOSING: Duration = Duration::from_secs(5);

/// What every role has.
struct Base {
    clock: Arc<dyn Clock>,
    admin: Admin,
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    /// Where the agent of this process is handed what was taken in elsewhere in it.
    ingest: Ingest,
    /// Whatever searches in this process shares them.
    cores: Cores,
    /// To be closed in the end.
    catalogue: Option<Catalogue>,
}

impl Base {
    fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            admin: Admin::new(),
            shutdown: CancellationToken::new(),
            tasks: JoinSet::new(),
            ingest: Ingest::default(),
            cores: Cores::default(),
            catalogue: None,
        }
    }

    async fn topic(&mut self, settings: &Settings) -> anyhow::Result<Topic> {
        let metrics = millrace_transport::Metrics::new(&mut self.admin.registry);
        let topic = Topic::open(&settings.topic, Arc::clone(&self.clock), &metrics).await?;
        let probed = topic.clone();
        self.admin.ready_if(move || {
            probed.healthy().err().map(|problem| format!("topic: {problem}")).into_iter().collect()
        });
        Ok(topic)
    }

    async fn catalogue(&mut self, settings: &Settings) -> anyhow::Result<Catalogue> {
        let catalogue = Catalogue::open(&settings.catalogue, Arc::clone(&self.clock)).await?;
        self.catalogue = Some(catalogue.clone());
        Ok(catalogue)
    }

    /// One handle for a process: the folder of copies is its alone.
    async fn bundles(&mut self, settings: &Settings, node: &str) -> anyhow::Result<Bundles> {
        let mut storage = settings.storage.clone();
        storage.cache_dir = storage.cache_dir.join(node.replace('/', "-"));
        let bundles = tokio::task::spawn_blocking(move || Bundles::open(&storage)).await??;
        bundles.metrics().register(&mut self.admin.registry);
        Ok(bundles)
    }

    /// Serves `router` and the probes until the end, in the clear.
    fn serve(&mut self, socket: TcpListener, router: Router) -> anyhow::Result<()> {
        let reached = Reached::plainly(self.admin.listener(self.shutdown.clone()));
        self.serve_as(socket, reached, router, None)
    }

    /// Serves `router` and the probes until the end, behind a guard.
    fn serve_as(
        &mut self,
        socket: TcpListener,
        reached: Reached,
        router: Router,
        guard: Option<Guard>,
    ) -> anyhow::Result<()> {
        let Reached { listener, tls, max_connections } = reached;
        let scheme = if tls.is_some() { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{}", socket.local_addr()?);
        let router = router.merge(std::mem::replace(&mut self.admin, Admin::new()).router());
        let router = match guard {
            Some(guard) => guard.before(router),
            None => router,
        };
        self.tasks.spawn(async move {
            serve_all(socket, tls, router, listener, max_connections).await;
            Ok(())
        });
        systemd::ready();
        Ok(())
    }

    /// Waits for a signal or for a part that ends, then stops the others.
    async fn run(mut self) -> anyhow::Result<()> {
        let alive = tokio::spawn(systemd::stay_alive());
        let mut outcome = tokio::select! {
            signal = signalled() => signal,
            Some(ended) = self.tasks.join_next() => ended.map_err(Into::into).flatten(),
        };
        systemd::stopping();
        self.shutdown.cancel();
        tracing::info!("stopping");
        let rest = async {
            while let Some(ended) = self.tasks.join_next().await {
                let ended = ended.map_err(Into::into).flatten();
                if outcome.is_ok() {
                    outcome = ended;
                }
            }
        };
        let stopped = tokio::time::timeout(GRACE, rest).await;
        alive.abort();
        if stopped.is_err() {
            tracing::warn!("not everything stopped in time; what was not published is read again");
        }
        // All of a SQLite catalogue is in its one file then, for whoever copies it.
        if let Some(catalogue) = &self.catalogue
            && tokio::time::timeout(CLOSING, catalogue.close()).await.is_err()
        {
            tracing::warn!("the catalogue is still in use; it is as it was after a crash, which it survives");
        }
        outcome
    }
}

async fn signalled() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let terminal_gone = async {
        match signal(SignalKind::hangup()) {
            Ok(mut hangups) if !reload::is_daemon() => hangups.recv().await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        done = tokio::signal::ctrl_c() => Ok(done?),
        _ = terminate.recv() => Ok(()),
        _ = terminal_gone => Ok(()),
    }
}

/// `millrace agent`.
pub(crate) async fn agent(settings: Settings, reread: Reread) -> anyhow::Result<()> {
    let mut base = Base::new();
    let listener = admin::bind(settings.agent.listen).await?;
    let topic = base.topic(&settings).await?;
    start_agent(&mut base, settings, topic, reread)?;
    base.serve(listener, Router::new())?;
    base.run().await
}

/// `millrace indexer`.
pub(crate) async fn indexer(settings: Settings) -> anyhow::Result<()> {
    let mut base = Base::new();
    let listen = settings.indexer.listen;
    let listener = admin::bind(listen).await?;
    let topic = base.topic(&settings).await?;
    let address = settings.indexer.advertise.clone().unwrap_or_else(|| listen.to_string());
    let catalogue = base.catalogue(&settings).await?;
    let name = node("indexer", listen);
    let bundles = base.bundles(&settings, &name).await?;
    rebuild::refuse_lost(&catalogue, &bundles).await?;
    let (leaf, metrics) = start_indexer(&mut base, &settings, topic, catalogue, bundles, name, Some(address));
    let leaf = leaf.router(settings.cluster, Arc::clone(&base.clock), metrics);
    base.serve(listener, leaf)?;
    base.run().await
}

/// `millrace query`.
pub(crate) async fn query(settings: Settings, reread: Reread) -> anyhow::Result<()> {
    let mut base = Base::new();
    let listen = settings.query.listen;
    let listener = admin::bind(listen).await?;
    let topic = base.topic(&settings).await?;
    let catalogue = base.catalogue(&settings).await?;
    let name = node("query", listen);
    let bundles = base.bundles(&settings, &name).await?;
    receive(&mut base, &settings, &topic).await?;
    let (reached, guard) = door::open(&mut base, &settings, &catalogue)?;
    let (callers, login) = guard.known();
    let parts = QueryParts { topic: topic.clone(), catalogue, bundles, node: name, callers, login };
    let api = start_query::<HttpLeaf>(&mut base, &settings, parts, None).await?;
    let api = api.merge(ingest_router(&settings, &base.ingest));
    if settings.ingest.is_some() {
        start_agent(&mut base, settings, topic, reread)?;
    }
    base.serve_as(listener, reached, api, Some(guard))?;
    base.run().await
}

/// `millrace up`: everything in one process.
pub(crate) async fn up(settings: Settings, reread: Reread) -> anyhow::Result<()> {
    let mut base = Base::new();
    let listen = settings.query.listen;
    let listener = admin::bind(listen).await?;
    let topic = base.topic(&settings).await?;
    let catalogue = base.catalogue(&settings).await?;
    let name = node("up", listen);
    let bundles = base.bundles(&settings, &name).await?;
    rebuild::refuse_lost(&catalogue, &bundles).await?;
    let (leaf, _) = start_indexer(
        &mut base,
        &settings,
        topic.clone(),
        catalogue.clone(),
        bundles.clone(),
        name.clone(),
        None,
    );
    let local = Some((name.clone(), leaf));
    receive(&mut base, &settings, &topic).await?;
    let (reached, guard) = door::open(&mut base, &settings, &catalogue)?;
    let (callers, login) = guard.known();
    let parts = QueryParts { topic: topic.clone(), catalogue, bundles, node: name, callers, login };
    let api = start_query(&mut base, &settings, parts, local).await?;
    let api = api.merge(ingest_router(&settings, &base.ingest));
    start_agent(&mut base, settings, topic, reread)?;
    base.serve_as(listener, reached, api, Some(guard))?;
    base.run().await
}

/// The API of this address, described.
fn described(settings: &Settings) -> serde_json::Result<serde_json::Value> {
    let ingest = settings.ingest.as_ref().map(|_| Ingest::described());
    serde_json::to_value(millrace_query::http::document([admin::described()].into_iter().chain(ingest)))
}

/// The paths that take something in, where anything is taken in.
fn ingest_router(settings: &Settings, ingest: &Ingest) -> Router {
    settings.ingest.as_ref().map_or_else(Router::new, |settings| ingest.router(settings.max_body))
}

async fn receive(base: &mut Base, settings: &Settings, topic: &Topic) -> anyhow::Result<()> {
    let (registry, stop) = (&mut base.admin.registry, base.shutdown.clone());
    receive::start(settings.receive.as_ref(), topic, registry, stop, &mut base.tasks).await
}

/// A node's name in the catalogue: the same after a restart.
fn node(role: &str, listen: SocketAddr) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{role}/{}/{}", host.trim(), listen.port())
}

fn start_agent(base: &mut Base, settings: Settings, topic: Topic, reread: Reread) -> anyhow::Result<()> {
    let metrics = millrace_agent::Metrics::register(&mut base.admin.registry);
    let status = millrace_agent::Status::new();
    let probed = status.clone();
    base.admin.ready_if(move || {
        probed.readiness().err().map(|problem| format!("agent: {problem}")).into_iter().collect()
    });
    let (clock, shutdown) = (Arc::clone(&base.clock), base.shutdown.clone());
    let ingest = base.ingest.clone();
    let host = reload::Host { topic, clock, metrics, status, ingest, shutdown, reread };
    base.tasks.spawn(reload::agents(settings, host, reload::hangups()?));
    Ok(())
}

fn start_indexer(
    base: &mut Base,
    settings: &Settings,
    topic: Topic,
    catalogue: Catalogue,
    bundles: Bundles,
    node: String,
    address: Option<String>,
) -> (HotLeaf, millrace_indexer::Metrics) {
    let metrics = millrace_indexer::Metrics::default();
    metrics.register(&mut base.admin.registry);
    let work_directory: PathBuf = settings.work_directory.join(node.replace('/', "-"));
    let parts = millrace_indexer::Parts {
        topic,
        catalogue,
        bundles,
        work_directory,
        clock: Arc::clone(&base.clock),
        metrics: metrics.clone(),
        node,
        address,
    };
    let indexer = Indexer::new(settings.indexer.clone(), parts);
    let (leaf, status) = (indexer.leaf(base.cores.clone()), indexer.status());
    base.admin.ready_if(move || {
        status.problems().into_iter().map(|problem| format!("indexer: {problem}")).collect()
    });
    let shutdown = base.shutdown.clone();
    base.tasks.spawn(indexer.run(shutdown));
    (leaf, metrics)
}

/// What a query service stands on.
struct QueryParts {
    topic: Topic,
    catalogue: Catalogue,
    bundles: Bundles,
    node: String,
    callers: Option<Arc<Callers>>,
    login: Option<Arc<Login>>,
}

/// What brings records to the disk of the agent of this process.
fn put_into(ingest: &Ingest) -> Put {
    let ingest = ingest.clone();
    Arc::new(move |stream, records| {
        let ingest = ingest.clone();
        Box::pin(async move {
            let taken = ingest.put(&stream, records).await.map_err(|Later(why)| why)?;
            if taken.rejected > 0 { Err("a record is larger than is taken in".to_owned()) } else { Ok(()) }
        })
    })
}

async fn start_query<L: Leaf + Clone + 'static>(
    base: &mut Base,
    settings: &Settings,
    parts: QueryParts,
    local: Option<(String, L)>,
) -> anyhow::Result<Router> {
    let QueryParts { topic, catalogue, bundles, node, callers, login } = parts;
    let metrics = millrace_query::Metrics::default();
    metrics.register(&mut base.admin.registry);
    let put = settings.ingest.as_ref().map(|_| put_into(&base.ingest));
    let alerts = settings.query.alerts.clone();
    let (alerts_enabled, scheduled_metrics) = (alerts.enabled, metrics.clone());
    let (kept_by, verified, received) = (topic.clone(), topic.clone(), topic.clone());
    let dead_letters = DeadLetters::new(topic.clone(), catalogue.clone());
    let hosts = Hosts::new(topic.clone(), Arc::clone(&base.clock));
    let declared = settings.indexer.streams.fields.declared();
    let feed = Feed::new(FeedParts {
        topic: topic.clone(),
        catalogue: catalogue.clone(),
        declared: declared.clone(),
    });
    let rules = {
        let (alerts, metrics) = (alerts.clone(), metrics.clone());
        Arc::new(tokio::task::spawn_blocking(move || RuleBook::open(&alerts, metrics)).await?)
    };
    let receivers = receivers::open(alerts.receivers, &base.clock)?;
    let alerts_changed = Arc::new(Notify::new());
    let [(of_records, for_records), (of_slices, for_slices)] = [histories(), histories()];
    if alerts.enabled {
        let wake = Arc::clone(&alerts_changed);
        let status = Arc::new(WatchStatus::default());
        let probed = Arc::clone(&status);
        base.admin.ready_if(move || {
            probed.problem().map(|problem| format!("detection: {problem}")).into_iter().collect()
        });
        let copying = copies::run(topic.clone(), catalogue.clone(), node.clone(), base.shutdown.clone());
        base.tasks.spawn(async move {
            copying.await;
            Ok(())
        });
        let parts = WatchParts {
            topic,
            catalogue: catalogue.clone(),
            clock: Arc::clone(&base.clock),
            metrics: metrics.clone(),
            rules: Arc::clone(&rules),
            node: node.clone(),
            wake,
            declared,
        };
        base.tasks.spawn(Watch::run(parts, [of_records, of_slices], status, base.shutdown.clone()));
        let (ring, rung) = watch::channel(());
        let desk = Desk::new(DeskParts {
            catalogue: catalogue.clone(),
            clock: Arc::clone(&base.clock),
            routing: alerts.routing,
            wake: Arc::clone(&alerts_changed),
            ring,
            put: put.clone(),
            node: node.clone(),
        });
        let notifier = Notifier::new(
            catalogue.clone(),
            Arc::clone(&base.clock),
            receivers.clone(),
            metrics.clone(),
            rung,
        );
        let (shutdown, stop) = (base.shutdown.clone(), base.shutdown.clone());
        base.tasks.spawn(async move {
            tokio::join!(desk.run(shutdown), notifier.run(stop));
            Ok(())
        });
    }
    let shards = OpenShards::new(bundles);
    let remote = HttpLeaves::new(settings.cluster.clone(), Arc::clone(&base.clock))?;
    let leaves = Leaves::new(local, remote, metrics.clone());
    let trust = leaves.trust();
    base.admin.ready_if(move || trust.problems());
    let greeting = leaves.clone().greet(catalogue.clone(), base.shutdown.clone());
    base.tasks.spawn(async move {
        greeting.await;
        Ok(())
    });
    let searcher = Searcher::new(
        catalogue,
        shards,
        leaves,
        base.cores.clone(),
        Arc::clone(&base.clock),
        metrics.clone(),
    )
    .keeping(settings.query.kept_results);
    let streams = &settings.indexer.streams;
    let kept = Kept {
        others: streams.others.age,
        named: streams.named.iter().map(|(name, keep)| (name.clone(), (keep.age, keep.bytes))).collect(),
    };
    let topic_keeps: TopicKeeps = Arc::new(move || {
        let topic = kept_by.clone();
        Box::pin(async move { topic.keeps().await })
    });
    let (timeout, query_memory) = (settings.query.timeout, settings.query.query_memory);
    let topic = verified;
    let elastic = elastic::Kept {
        indices: IndexKeeper::new(
            searcher.catalogue().clone(),
            Collections::new(
                searcher.catalogue().clone(),
                &settings.query.elastic,
                settings.query.query_memory,
                &metrics,
            ),
        ),
        scrolls: Scrolls::default(),
        put,
        address: settings.query.listen.to_string(),
    };
    let api = Arc::new(Api {
        searcher,
        timeout,
        query_memory,
        masks: settings.query.auth.as_ref().map(|auth| auth.masks.clone()).unwrap_or_default(),
        rules,
        receivers,
        alerts_changed,
        kept,
        topic_keeps,
        topic,
        dead_letters,
        hosts,
        feed,
        elastic,
        described: Arc::new(described(settings)?),
        callers,
        login,
    });
    let (watching, shutdown) = (Arc::clone(&api), base.shutdown.clone());
    base.tasks.spawn(async move {
        watching.searcher.watch_partitions(&watching.topic, shutdown).await;
        Ok(())
    });
    for historian in [for_records, for_slices] {
        let (reading, shutdown) = (Arc::clone(&api), base.shutdown.clone());
        base.tasks.spawn(async move {
            historian.run(&reading.searcher, shutdown).await;
            Ok(())
        });
    }
    if alerts_enabled {
        let asked = Arc::clone(&api);
        let bounds = Bounds { timeout, memory: query_memory };
        let scheduler = Scheduler::new(SchedulerParts {
            catalogue: api.searcher.catalogue().clone(),
            clock: Arc::clone(&base.clock),
            rules: Arc::clone(&api.rules),
            ask: Arc::new(move |rule, at| {
                let api = Arc::clone(&asked);
                Box::pin(async move {
                    let sight = Sight::whole(Grant::All);
                    schedule::ask(&api.searcher, bounds, &rule, at, sight).await
                })
            }),
            wake: Arc::clone(&api.alerts_changed),
            metrics: scheduled_metrics,
            node,
        });
        let shutdown = base.shutdown.clone();
        base.tasks.spawn(async move {
            scheduler.run(shutdown).await;
            Ok(())
        });
    }
    let (tidied, shutdown) = (Arc::clone(&api), base.shutdown.clone());
    base.tasks.spawn(async move {
        tidied.searcher.tidy(shutdown).await;
        Ok(())
    });
    // Their messages may be of any stream.
    let received = asks(Asked::InAll(Role::Write), false, millrace_transport::router(&received));
    Ok(millrace_query::http::router(api).merge(received))
}
