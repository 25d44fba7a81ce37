//! What is pushed: into the spool before anything else, out of it into the topic once, whatever happens to topic, process and files.

use crate::support::{Host, attribute, until};
use millrace_agent::{Endpoint, Protocol, SourceKind, SourceSettings, SpoolSettings, SyslogSettings};
use millrace_intake::spool::{Bounds, Overflow};
use millrace_listen::TlsSettings;
use millrace_model::{Value, wire::SkipReason};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

/// An address that nobody listens on. It lies below the ports that the system hands out by itself: nobody takes it while an agent is
/// away.
pub(crate) fn free() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let nth = std::process::id().wrapping_mul(17) + GIVEN.fetch_add(1, Ordering::SeqCst);
        let address = SocketAddr::from(([127, 0, 0, 1], 30_000 + (nth % 2_000) as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Host {
    /// Listens for syslog and reads nothing else; says where.
    pub(crate) fn listen(&mut self, protocol: Protocol, bounds: Bounds) -> SocketAddr {
        let address = free();
        let spool = SpoolSettings { bounds, ..SpoolSettings::default() };
        let settings = SyslogSettings {
            listen: vec![Endpoint { protocol, address }],
            spool,
            ..SyslogSettings::default()
        };
        let (name, stream) = ("net".to_owned(), "net".parse().unwrap());
        self.settings.sources = vec![SourceSettings {
            name,
            stream,
            process: millrace_intake::Process::default(),
            kind: SourceKind::Syslog(Box::new(settings)),
        }];
        address
    }

    pub(crate) fn spool_files(&self) -> Vec<PathBuf> {
        let Ok(folder) = fs::read_dir(self.state("spool/net")) else { return Vec::new() };
        let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "spool"));
        files.sort();
        files
    }

    /// Waits until so many were acknowledged by the disk.
    pub(crate) async fn received(&self, records: i64) {
        until(&format!("{records} records are in the spool"), || {
            self.metric("received_records_total") >= records
        })
        .await;
    }
}

const LARGE: Bounds = Bounds { bytes: 64 << 20, overflow: Overflow::Refuse };

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = None;
    until("it listens", || {
        stream = TcpStream::connect(address).ok();
        stream.is_some()
    })
    .await;
    stream.unwrap()
}

pub(crate) fn line(number: usize) -> String {
    format!("<13>1 2026-10-11T22:14:15Z web1 app 42 - - line {number}")
}

pub(crate) fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[tokio::test]
async fn messages_become_records_with_their_fields_and_where_they_came_from() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Tcp, LARGE);
    host.start();
    let mut stream = connect(address).await;
    let counted = "<11>1 2026-10-11T22:14:15.003Z web1 app 42 ID7 [a@1 user=\"ann\"] two\nlines";
    write!(
        stream,
        "{} {counted}<34>Oct 11 22:14:15 web2 su[7]: it failed\n\nno syslog\n<14>half",
        counted.len()
    )
    .unwrap();
    drop(stream);
    let shipped = host
        .shipped_bodies(&[counted, "<34>Oct 11 22:14:15 web2 su[7]: it failed", "no syslog", "<14>half"])
        .await;
    let source = shipped.only();
    let open = source.open();
    assert_eq!(
        (open.kind.as_str(), open.path.clone(), open.start),
        ("syslog", format!("tcp://{address}"), 0)
    );
    assert_eq!((source.start(), source.end()), (0, 4));
    let records: Vec<_> = source.runs.values().map(|(_, record)| record.as_ref().unwrap()).collect();
    for record in &records {
        assert_eq!(attribute(record, "network.peer.address"), Some(&Value::from("127.0.0.1")));
        assert_eq!(attribute(record, "network.transport"), Some(&Value::from("tcp")));
        assert_eq!(record.resource.get("host.name"), Some(&Value::from("test-host")));
    }
    assert_eq!(attribute(records[0], "syslog.a@1.user"), Some(&Value::from("ann")));
    assert_eq!((records[0].severity_text.as_str(), records[1].severity_text.as_str()), ("err", "crit"));
    assert_eq!(attribute(records[1], "host.name"), Some(&Value::from("web2")));
    assert!(attribute(records[2], "log.parse_error").is_some());
    until("nothing is in flight", || host.metric("in_flight_records") == 0).await;
    host.check_conservation();
    // The empty line between.
    assert_eq!(host.metric("pushed_dropped_records_total"), 1);
    host.stop().await;
}

#[tokio::test]
async fn datagrams_are_messages_and_long_ones_are_cut() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Udp, LARGE);
    if let SourceKind::Syslog(syslog) = &mut host.settings.sources[0].kind {
        syslog.max_line = 100;
    }
    host.start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let long = format!("{} {}", line(1), "x".repeat(200));
    until("it listens", || {
        socket.connect(address).unwrap();
        // What is refused here was sent before it listened.
        socket.send(line(0).as_bytes()).is_ok() && host.metric("received_records_total") > 0
    })
    .await;
    socket.send(format!("{long}\n").as_bytes()).unwrap();
    let shipped = host
        .shipped("the long one is shipped", |shipped| {
            shipped.bodies().iter().any(|body| body.starts_with(&long[..90]))
        })
        .await;
    let source = shipped.only();
    let record = source.runs.values().find_map(|(_, record)| {
        record.as_ref().ok().filter(|record| attribute(record, "log.truncated").is_some())
    });
    let record = record.unwrap();
    assert_eq!(record.body, Value::from(&long[..100]));
    assert_eq!(attribute(record, "log.original_length"), Some(&Value::Int(long.len() as i64)));
    assert_eq!(attribute(record, "network.transport"), Some(&Value::from("udp")));
    host.stop().await;
}

#[tokio::test]
async fn while_the_topic_is_away_the_spool_takes_it_and_it_is_shipped_once() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Tcp, LARGE);
    host.topic.set_partitions(None);
    host.start();
    let mut stream = connect(address).await;
    stream.write_all(lines(0..5000).as_bytes()).unwrap();
    host.received(5000).await;
    // Killed, and killed again with messages under way.
    host.kill().await;
    host.topic.set_partitions(Some(4));
    host.topic.hold_after(2);
    host.start();
    let topic = host.topic.clone();
    until("messages are taken", || topic.held() > 0).await;
    host.kill().await;

    host.start();
    let mut stream = connect(address).await;
    stream.write_all(lines(5000..6000).as_bytes()).unwrap();
    let shipped = host.shipped("all is shipped", |shipped| shipped.bodies().len() >= 6000).await;
    let source = shipped.only();
    assert_eq!(source.bodies(), (0..6000).map(line).collect::<Vec<_>>());
    assert_eq!((source.start(), source.end()), (0, 6000));
    until("nothing is in flight", || host.metric("in_flight_records") == 0).await;
    host.check_conservation();
    host.stop().await;
}

#[tokio::test]
async fn what_is_delivered_leaves_the_disk() {
    let mut host = Host::new();
    let bounds = Bounds { bytes: 2 << 20, overflow: Overflow::Refuse };
    let address = host.listen(Protocol::Tcp, bounds);
    host.start();
    let mut stream = connect(address).await;
    // Several times what the spool may hold: the sender waits for the topic.
    let sender = std::thread::spawn(move || {
        for at in 0..40 {
            stream.write_all(lines(at * 1000..(at + 1) * 1000).as_bytes()).unwrap();
        }
    });
    let shipped = host.shipped("all is shipped", |shipped| shipped.bodies().len() >= 40_000).await;
    sender.join().unwrap();
    let bodies: BTreeSet<String> = shipped.bodies().into_iter().collect();
    assert_eq!((bodies.len(), shipped.only().end()), (40_000, 40_000));
    until("one file is left", || host.spool_files().len() == 1).await;
    host.stop().await;
}

#[tokio::test]
async fn a_full_spool_makes_senders_wait() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Tcp, Bounds { bytes: 1 << 20, overflow: Overflow::Refuse });
    host.topic.set_partitions(None);
    host.start();
    let mut stream = connect(address).await;
    let sender = std::thread::spawn(move || stream.write_all(lines(0..100_000).as_bytes()).unwrap());
    until("senders are told to wait", || host.metric("refused_records_total") > 0).await;
    assert!(!sender.is_finished());
    host.topic.set_partitions(Some(1));
    let shipped = host.shipped("all is shipped", |shipped| shipped.bodies().len() >= 100_000).await;
    sender.join().unwrap();
    assert_eq!(shipped.only().bodies(), (0..100_000).map(line).collect::<Vec<_>>());
    assert_eq!(host.metric("pushed_dropped_records_total"), 0);
    host.stop().await;
}

#[tokio::test]
async fn where_the_oldest_may_go_their_number_is_told_as_lost() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Tcp, Bounds { bytes: 1 << 20, overflow: Overflow::DropOldest });
    // What is read ahead is kept.
    host.settings.in_flight = 100_000;
    host.topic.set_partitions(None);
    host.start();
    let mut stream = connect(address).await;
    stream.write_all(lines(0..50_000).as_bytes()).unwrap();
    host.received(50_000).await;
    host.topic.set_partitions(Some(1));
    let last = line(49_999);
    let shipped = host.shipped("the last is shipped", |shipped| shipped.bodies().contains(&last)).await;
    let source = shipped.only();
    assert_eq!(source.end(), 50_000);
    let lost = source.skipped(SkipReason::Lost);
    assert!(lost > 10_000, "{lost}");
    assert_eq!(source.bodies().len() as u64 + lost, 50_000);
    assert_eq!(host.metric("lost_entries_total"), lost as i64);
    assert!(host.metric("pushed_dropped_records_total") >= lost as i64);
    until("nothing is in flight", || host.metric("in_flight_records") == 0).await;
    host.check_conservation();
    host.stop().await;
}

#[tokio::test]
async fn where_the_newest_are_dropped_their_number_is_told_as_lost() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Tcp, Bounds { bytes: 1 << 20, overflow: Overflow::DropNewest });
    host.topic.set_partitions(None);
    host.start();
    let mut stream = connect(address).await;
    stream.write_all(lines(0..50_000).as_bytes()).unwrap();
    until("all are taken or dropped", || {
        host.metric("received_records_total") + host.metric("pushed_dropped_records_total") == 50_000
    })
    .await;
    let dropped = host.metric("pushed_dropped_records_total");
    assert!(dropped > 10_000, "{dropped}");
    host.topic.set_partitions(Some(1));
    let shipped = host
        .shipped("all is accounted for", |shipped| {
            shipped.sources.values().any(|source| source.end() == 50_000)
        })
        .await;
    assert_eq!(shipped.only().skipped(SkipReason::Lost), dropped as u64);
    assert_eq!(shipped.only().bodies().len() as i64, 50_000 - dropped);
    host.stop().await;
}

#[tokio::test]
async fn a_spool_is_not_filled_beyond_what_the_disk_must_keep() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Tcp, LARGE);
    if let SourceKind::Syslog(syslog) = &mut host.settings.sources[0].kind {
        syslog.spool.min_free = millrace_config::MinFree::bytes(u64::MAX);
    }
    host.start();
    let status = host.status.clone();
    until("it says that it takes nothing", || {
        status
            .readiness()
            .is_err_and(|reason| reason.contains("net takes nothing") && reason.contains("min_free"))
    })
    .await;
    let mut stream = connect(address).await;
    stream.write_all(lines(0..10).as_bytes()).unwrap();
    until("the sender waits", || host.metric("refused_records_total") == 10).await;
    assert_eq!(host.metric("received_records_total"), 0);
    host.stop().await;
    // What it held in hand was never acknowledged; it is counted.
    assert_eq!(host.metric("pushed_dropped_records_total"), 10);
}

#[tokio::test]
async fn an_address_in_use_is_said_at_the_start() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Tcp, LARGE);
    let _taken = TcpListener::bind(address).unwrap();
    let error = host.start_in_vain().await;
    assert!(error.contains("source net: cannot listen on tcp://"), "{error}");
}

#[tokio::test]
async fn what_the_kernel_drops_is_told_among_the_records() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Udp, LARGE);
    if let SourceKind::Syslog(syslog) = &mut host.settings.sources[0].kind {
        syslog.receive_buffer = 4096;
    }
    host.start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    until("it listens", || socket.send(b"<13>first").is_ok() && host.metric("received_records_total") > 0)
        .await;
    let mut sent = 0;
    // As many as it takes until the buffer has once been full.
    until("the kernel has dropped some", || {
        for _ in 0..5000 {
            sent += u64::from(socket.send(b"<13>1 - - - - - - a datagram").is_ok());
        }
        host.metric("pushed_dropped_records_total") > 0
    })
    .await;
    let shipped = host
        .shipped("all are accounted for", |shipped| {
            let came = shipped.bodies().iter().filter(|body| body.ends_with("a datagram")).count() as u64;
            came + shipped.only().skipped(SkipReason::Lost) == sent
        })
        .await;
    assert_eq!(shipped.only().skipped(SkipReason::Lost), host.metric("pushed_dropped_records_total") as u64);
    assert_eq!(shipped.only().bodies().len() as i64, host.metric("received_records_total"));
    host.stop().await;
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_said_at_the_start() {
    let mut host = Host::new();
    host.listen(Protocol::Tls, LARGE);
    let certificate = host.path("none.pem");
    if let SourceKind::Syslog(syslog) = &mut host.settings.sources[0].kind {
        let (certificate, key) = (certificate.clone(), certificate.clone());
        syslog.tls = Some(TlsSettings { certificate, key, client_ca: None });
    }
    let error = host.start_in_vain().await;
    let expected = format!("source net: its certificates cannot be used: {}", certificate.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn more_connections_than_are_allowed_are_closed_again() {
    let mut host = Host::new();
    let address = host.listen(Protocol::Tcp, LARGE);
    if let SourceKind::Syslog(syslog) = &mut host.settings.sources[0].kind {
        syslog.max_connections = 1;
    }
    host.start();
    let mut first = connect(address).await;
    first.write_all(lines(0..1).as_bytes()).unwrap();
    host.received(1).await;
    let mut second = TcpStream::connect(address).unwrap();
    assert_eq!(second.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed");
    assert_eq!((host.metric("rejected_requests_total"), host.metric("connections")), (1, 1));
    drop(first);
    until("there is a place again", || {
        host.metric("connections") == 0 && {
            let mut third = TcpStream::connect(address).unwrap();
            third.write_all(lines(1..2).as_bytes()).is_ok()
        }
    })
    .await;
    host.shipped_bodies(&[&line(0), &line(1)]).await;
    host.stop().await;
}
