//! What tests need around them and the product does not: servers of other makers, the program under test as processes of
//! its own, and ways to ask it. All of it is gone when the test process is gone, however that ends. A part that is missing
//! is a panic that says how to get it, never a skip.

pub mod certificates;
pub mod cluster;
pub mod database;
pub mod disk;
pub mod foreign;
pub mod http;
pub mod kafka;
pub mod numbers;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod program;
pub mod pusher;
pub mod rounds;
pub mod s3;
pub mod server;
pub mod supervisor;
pub mod wait;

pub use cluster::{Cluster, Plan, Role, SECRET_FILE};
pub use program::{Site, Up};
pub use server::Server;
