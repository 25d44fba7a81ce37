//! How many datagrams the kernel has dropped because a socket's buffer was full, as `/proc/net/udp` tells.

use std::{fs, io, os::fd::AsRawFd, path::Path};

const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// The counter of one socket.
#[derive(Debug)]
pub(super) struct Drops {
    inode: u64,
    seen: u64,
}

impl Drops {
    /// Of this socket. Blocks, for moments.
    pub(super) fn of(socket: &impl AsRawFd) -> io::Result<Self> {
        let link = fs::read_link(Path::new("/proc/self/fd").join(socket.as_raw_fd().to_string()))?;
        let inode = link.to_str().and_then(inode_of);
        let inode = inode.ok_or_else(|| io::Error::other(format!("{} is no socket", link.display())))?;
        Ok(Self { inode, seen: 0 })
    }

    /// How many more since it was last asked. Blocks, for moments.
    pub(super) fn more(&mut self) -> io::Result<u64> {
        for table in TABLES {
            match fs::read_to_string(table) {
                Ok(text) => {
                    if let Some(total) = drops_in(&text, self.inode) {
                        // The kernel counts in 32 bits.
                        let more = (total as u32).wrapping_sub(self.seen as u32);
                        self.seen = total;
                        return Ok(more.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the socket is in no table of the kernel's"))
    }
}

/// Out of `socket:[12345]`.
fn inode_of(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The last column of the line with this inode, which is the tenth.
fn drops_in(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let found = columns.nth(9)?.parse::<u64>().ok()?;
        (found == inode).then(|| columns.last()?.parse().ok())?
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            \x20 517: 0100007F:1589 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0\n\
            \x20 518: 0100007F:158A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 98\n";
        assert_eq!(
            (drops_in(table, 4711), drops_in(table, 4712), drops_in(table, 1)),
            (Some(0), Some(98), None)
        );
        assert_eq!((inode_of("socket:[17]"), inode_of("pipe:[17]")), (Some(17), None));
    }

    #[test]
    fn what_a_full_buffer_does_not_take_is_counted() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&receiver).set_recv_buffer_size(4096).unwrap();
        let mut drops = Drops::of(&receiver).unwrap();
        assert_eq!(drops.more().unwrap(), 0);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..500 {
            sender.send_to(&[7; 1000], receiver.local_addr().unwrap()).unwrap();
        }
        receiver.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2000];
        let mut received = 0;
        while receiver.recv(&mut buffer).is_ok() {
            received += 1;
        }
        let dropped = drops.more().unwrap();
        assert!(dropped > 0 && dropped + received == 500, "{received} received, {dropped} dropped");
        assert_eq!(drops.more().unwrap(), 0);
    }
}
