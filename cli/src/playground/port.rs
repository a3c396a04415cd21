//! Free ports on loopback. They are looked for below the range from which the kernel takes ports
//! for outgoing connections, so that a port is still free at the next start.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpListener};

/// How many ports below the kernel's range are tried.
const TRIED: u16 = 8192;
/// Where the kernel's range begins if it does not say.
const EPHEMERAL_FIRST: u16 = 32_768;
/// The first port that needs no privilege.
const UNPRIVILEGED_FIRST: u16 = 1024;

/// Ports that were found free, held until all are found, so that none is found twice.
#[derive(Debug, Default)]
pub(super) struct Ports {
    held: Vec<TcpListener>,
}

impl Ports {
    /// `port` if it is free, else another.
    pub(super) fn keep(&mut self, port: u16) -> Result<u16> {
        if self.hold(port) {
            Ok(port)
        } else {
            self.free()
        }
    }

    pub(super) fn free(&mut self) -> Result<u16> {
        let last = ephemeral_first().max(UNPRIVILEGED_FIRST + 1);
        let first = last.saturating_sub(TRIED).max(UNPRIVILEGED_FIRST);
        let span = last - first;
        let start = u16::from_le_bytes([random_byte(0), random_byte(1)]) % span;
        let near = (0..span).map(|step| first + (start + step) % span);
        for port in near {
            if self.hold(port) {
                return Ok(port);
            }
        }
        let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        let port = any.local_addr().context("no port is free")?.port();
        self.held.push(any);
        Ok(port)
    }

    fn hold(&mut self, port: u16) -> bool {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => {
                self.held.push(listener);
                true
            }
            Err(_taken) => false,
        }
    }
}

/// Two playgrounds that start at once should not try the same ports.
fn random_byte(index: usize) -> u8 {
    uuid::Uuid::new_v4().as_bytes()[index]
}

fn ephemeral_first() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(EPHEMERAL_FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_once() {
        let mut ports = Ports::default();
        let first = ports.free().expect("a port");
        let second = ports.free().expect("a port");
        assert_ne!(first, second);
        assert_ne!(ports.keep(first).expect("a port"), first);
        drop(ports);
        assert_eq!(Ports::default().keep(first).expect("a port"), first);
    }
}
