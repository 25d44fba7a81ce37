//! Lines from this process's standard input, until it ends. What has come is in the spool; the agent goes on.

use super::pushed::{
    Encoded, Inlet,
    decoder::{Decoder, Message},
};
use crate::{Error, settings::StdinSettings};
use std::{
    io::{self, Read},
    thread,
};
use tokio::runtime::Handle;

/// So much is read at once, in bytes.
const READ: usize = 64 << 10;

/// Starts the thread that reads. It is nobody's to wait for: a read of standard input cannot be called back, and nothing of what it
/// holds has been acknowledged to anybody.
pub(crate) fn start(inlet: Inlet, settings: &StdinSettings) -> Result<(), Error> {
    let (name, settings, runtime) = (inlet.name.to_string(), settings.clone(), Handle::current());
    let spawned = thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        match read(io::stdin().lock(), &inlet, &settings, &runtime) {
            Ok(lines) => tracing::info!(source = %inlet.name, lines, "standard input has ended"),
            Err(error) => {
                inlet.metrics.source_error("stdin");
                tracing::error!(source = %inlet.name, %error, "standard input cannot be read");
            }
        }
    });
    spawned.map(drop).map_err(|source| Error::Thread { name, source })
}

/// Brings all lines to the spool; how many.
fn read(mut input: impl Read, inlet: &Inlet, settings: &StdinSettings, runtime: &Handle) -> io::Result<u64> {
    let (resource, mut buffer) = (inlet.own_resource(), vec![0; READ]);
    let (mut decoder, mut lines) = (Decoder::lines(settings.max_line), 0);
    loop {
        let length = match input.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut records = Vec::new();
        let mut each = |line: Message<'_>| records.extend(inlet.read(&line, &settings.parse, &resource));
        if length == 0 {
            decoder.finish(&mut each);
        } else {
            decoder.push(&buffer[..length], &mut each);
        }
        lines += records.len() as u64;
        if !records.is_empty() && !runtime.block_on(inlet.put_patiently(Encoded::of(&records))) {
            inlet.dropped("stopping", records.len() as u64);
            return Ok(lines);
        }
        if length == 0 || inlet.stop.is_cancelled() {
            return Ok(lines);
        }
    }
}
