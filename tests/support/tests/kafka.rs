//! The broker comes up, goes when told, comes back, and leaves nothing behind.

use millrace_test_support::kafka::Broker;
use std::net::TcpStream;

#[test]
fn a_broker_starts_stops_and_comes_back_on_its_ports() {
    let broker = Broker::start();
    let up = || TcpStream::connect(&broker.bootstrap).is_ok();
    assert!(up());
    broker.kill();
    assert!(!up());
    broker.restart();
    assert!(up());
    broker.stop();
    assert!(!up());
    broker.restart();
    let address = broker.bootstrap.clone();
    drop(broker);
    assert!(TcpStream::connect(address).is_err());
}
