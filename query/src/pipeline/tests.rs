use super::*;
use millrace_model::{AgentId, InstanceId, wire::Heartbeat};

fn waiting(messages: Option<u64>, seconds: Option<f64>) -> Waiting {
    Waiting { messages, records: None, seconds }
}

#[test]
fn a_hop_is_the_sum_of_what_is_known_and_as_old_as_its_oldest() {
    let parts = [waiting(Some(3), Some(1.5)), waiting(None, None), waiting(Some(4), Some(0.5))];
    let all = hop(HopName::Topic, parts.into_iter());
    assert_eq!((all.messages, all.records, all.seconds), (Some(7), None, Some(1.5)));
    let unknown = hop(HopName::Topic, [waiting(None, None)].into_iter());
    assert_eq!((unknown.messages, unknown.seconds), (None, None), "not known is not nothing");
}

#[test]
fn nothing_waits_for_no_time() {
    assert_eq!(Waiting::between(5, 5, None), waiting(Some(0), Some(0.0)));
    assert_eq!(Waiting::between(9, 5, Some(Duration::from_secs(7))), waiting(Some(0), Some(0.0)));
    assert_eq!(Waiting::between(5, 7, Some(Duration::from_secs(7))), waiting(Some(2), Some(7.0)));
    assert_eq!(Waiting::between(5, 7, None), waiting(Some(2), None));
}

fn host(name: &str, state: State, backlog: u64) -> Host {
    let heartbeat = Heartbeat {
        agent: AgentId(1),
        instance: InstanceId(1),
        host: name.to_owned(),
        millrace: "1".to_owned(),
        config: String::new(),
        started: Timestamp(0),
        sent: Timestamp(0),
        interval_seconds: 30,
        stopping: false,
        sources: BTreeMap::new(),
        backlog_bytes: backlog,
        backlog_seconds: backlog,
        in_flight_bytes: 1,
        shipped_records: 0,
        problem: None,
    };
    Host { heartbeat, seen: Timestamp(0), state }
}

#[test]
fn agents_that_are_away_are_named_and_not_counted() {
    let mut hosts =
        vec![host("a", State::Up, 10), host("b", State::Troubled, 20), host("c", State::Stopped, 40)];
    assert_eq!(away(&hosts), None);
    let hop = of_agents(Some(&hosts));
    assert_eq!((hop.bytes, hop.seconds), (Some(32), Some(20.0)));
    hosts.extend((0..12).map(|n| host(&format!("away{n:02}"), State::Away, 1000)));
    assert_eq!(of_agents(Some(&hosts)), hop);
    let told = away(&hosts).unwrap_or_default();
    assert!(told.contains("away00, away01") && told.ends_with("away09 and 2 more"), "{told}");
    assert_eq!(counts(&hosts), AgentCounts { up: 1, troubled: 1, stopped: 1, away: 12 });
    assert_eq!((of_agents(None).bytes, of_agents(None).seconds), (None, None));
}
