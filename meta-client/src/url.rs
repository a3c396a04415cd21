//! Where a volume's metadata is.

use std::fmt;
use std::str::FromStr;

const SCHEME: &str = "curlew://";
/// Addresses in one URL.
const ADDRS_MAX: usize = 32;

/// `curlew://HOST:PORT[,HOST:PORT...]/VOLUME`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MetaUrl {
    /// Nodes of the cluster, not necessarily all.
    pub addrs: Vec<String>,
    /// The volume's name.
    pub volume: String,
}

/// Why a text is no META-URL.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not a META-URL like {SCHEME}HOST:PORT[,HOST:PORT...]/VOLUME: {why}")]
pub struct UrlError {
    text: String,
    why: String,
}

impl FromStr for MetaUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        parse(text).map_err(|why| UrlError {
            text: text.to_owned(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<MetaUrl, String> {
    let rest = text
        .strip_prefix(SCHEME)
        .ok_or(format!("it does not begin with {SCHEME}"))?;
    let (addrs, volume) = rest.split_once('/').ok_or("/VOLUME is missing")?;
    let addrs: Vec<String> = addrs.split(',').map(str::to_owned).collect();
    if addrs.len() > ADDRS_MAX {
        return Err(format!(
            "it has {} addresses; {ADDRS_MAX} are enough",
            addrs.len()
        ));
    }
    for addr in &addrs {
        check_addr(addr)?;
    }
    check_volume(volume)?;
    Ok(MetaUrl {
        addrs,
        volume: volume.to_owned(),
    })
}

fn check_addr(addr: &str) -> Result<(), String> {
    let Some((host, port)) = addr.rsplit_once(':') else {
        return Err(format!("the address `{addr}` has no :PORT"));
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    let known = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    if !known {
        return Err(format!(
            "`{host}` is not a host name or address; IPv6 goes in brackets"
        ));
    }
    match port.parse::<u16>() {
        Ok(1..) if port.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
        _ => Err(format!("`{port}` is not a port from 1 to 65535")),
    }
}

fn check_volume(name: &str) -> Result<(), String> {
    let max = meta_core::limits::VOLUME_NAME_BYTES_MAX;
    if name.is_empty() {
        return Err("the volume's name is missing".to_owned());
    }
    let inner = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if name.len() > max || !inner || name.starts_with('-') || name.ends_with('-') {
        return Err(format!(
            "`{name}` is not a volume's name: 1 to {max} of a-z, 0-9 and inner hyphens"
        ));
    }
    Ok(())
}

impl fmt::Display for MetaUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.addrs.join(","), self.volume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_its_addresses_in_order() {
        for text in [
            "curlew://h:1/v",
            "curlew://a.b:7101,10.0.0.1:2,[::1]:65535/my-vol1",
        ] {
            let url: MetaUrl = text.parse().expect("a URL");
            assert_eq!(url.to_string(), text);
        }
        let url: MetaUrl = "curlew://a:1,b:2/v".parse().expect("a URL");
        assert_eq!(
            (url.addrs, url.volume.as_str()),
            (vec!["a:1".into(), "b:2".into()], "v")
        );
    }

    #[test]
    fn a_broken_url_says_what_is_wrong() {
        for (text, part) in [
            ("redis://h:1/v", "begin with curlew://"),
            ("curlew://h:1", "/VOLUME is missing"),
            ("curlew://h:1/", "name is missing"),
            ("curlew://h/v", "no :PORT"),
            ("curlew:///v", "no :PORT"),
            ("curlew://h:1,/v", "no :PORT"),
            ("curlew://:1/v", "not a host name"),
            ("curlew://::1:7/v", "in brackets"),
            ("curlew://h:0/v", "not a port"),
            ("curlew://h:+1/v", "not a port"),
            ("curlew://h:65536/v", "not a port"),
            ("curlew://u@h:1/v", "not a host name"),
            ("curlew://h:1/v/", "not a volume's name"),
            ("curlew://h:1/Vol", "not a volume's name"),
            ("curlew://h:1/-v", "not a volume's name"),
        ] {
            let error = text.parse::<MetaUrl>().expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
            assert!(error.contains(text), "{error}");
        }
    }
}
