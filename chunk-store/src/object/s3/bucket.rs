//! Which bucket: what a user types as its URL, and what a volume keeps of it.

use super::environment::Environment;
use crate::error::StorageError;
use crate::object::name::is_sound;
use serde::{Deserialize, Serialize};

/// What signs requests where nobody says a region: stores without regions take any.
const REGION_DEFAULT: &str = "us-east-1";
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
const AWS_DOMAINS: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// A bucket and how it is reached. It holds no secrets: it is stored in the volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Bucket {
    /// `http://` or `https://`, a host and perhaps a port, without a path.
    pub endpoint: String,
    /// The bucket's name.
    pub bucket: String,
    /// What all keys begin with; empty, or ending with a slash.
    pub prefix: String,
    /// What requests are signed for.
    pub region: String,
    /// Whether the bucket stands in the path of a request (custom endpoints), or before the host
    /// (AWS).
    pub path_style: bool,
}

impl S3Bucket {
    /// Reads `http://HOST:PORT/BUCKET[/PREFIX]`, `https://BUCKET.s3.REGION.amazonaws.com[/PREFIX]`
    /// or `https://s3.REGION.amazonaws.com/BUCKET[/PREFIX]`. A region that the URL does not say
    /// comes from `AWS_REGION` or `AWS_DEFAULT_REGION`, else it is us-east-1.
    ///
    /// # Errors
    /// [`StorageError::BucketUrl`] says what is wrong, [`StorageError::Variable`] if a variable
    /// cannot be used.
    pub fn parse(url: &str) -> Result<Self, StorageError> {
        Self::parse_in(url, &Environment::process())
    }

    pub(super) fn parse_in(url: &str, environment: &Environment) -> Result<Self, StorageError> {
        let Parts {
            scheme,
            host,
            mut path,
        } = Parts::of(url).map_err(StorageError::BucketUrl)?;
        let aws = AwsHost::of(&host).map_err(StorageError::BucketUrl)?;
        let before_host = aws.as_ref().and_then(|aws| aws.bucket.clone());
        let bucket = match before_host {
            Some(bucket) => bucket,
            None if path.is_empty() => {
                return Err(StorageError::BucketUrl("it names no bucket"));
            }
            None => path.remove(0),
        };
        if !is_sound(&bucket) || !path.iter().all(|part| is_sound(part)) {
            return Err(StorageError::BucketUrl(
                "the bucket and the prefix are made of letters, digits, `-`, `_` and `.`, and no \
                 part begins with a dot",
            ));
        }
        let (endpoint, of_url) = match &aws {
            Some(aws) => (aws.endpoint.as_str(), aws.region.clone()),
            None => (host.as_str(), None),
        };
        let region = match of_url {
            Some(region) => region,
            None => environment
                .first(&REGION_VARIABLES)?
                .map_or_else(|| REGION_DEFAULT.to_owned(), |(_, region)| region),
        };
        Ok(Self {
            endpoint: format!("{scheme}://{endpoint}"),
            bucket,
            prefix: path.iter().map(|part| format!("{part}/")).collect(),
            region,
            path_style: aws.is_none(),
        })
    }

    /// For people.
    pub(crate) fn place(&self) -> String {
        format!("bucket {} at {}", self.bucket, self.endpoint)
    }
}

/// A URL taken apart.
struct Parts {
    scheme: &'static str,
    /// With the port, in lower case.
    host: String,
    path: Vec<String>,
}

impl Parts {
    /// What is wrong is said without the URL's words: a secret may stand in it.
    fn of(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "http",
            "https" => "https",
            _ => return Err("its scheme is neither http nor https"),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(
                "keys do not belong in it, because the volume keeps it: they are read from \
                 ACCESS_KEY and SECRET_KEY",
            );
        }
        if path.contains(['?', '#']) || host.contains(['?', '#']) {
            return Err("it has a query or a fragment");
        }
        let path = path.trim_end_matches('/');
        let path = match path {
            "" => Vec::new(),
            path => path.split('/').map(str::to_owned).collect(),
        };
        if !is_host(host) {
            return Err("its host or port is none");
        }
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            path,
        })
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // The colons inside brackets are those of an address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_name = !host.is_empty() && host.bytes().all(named);
    let is_address = address.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port != 0);
    (is_name || is_address) && port.is_none_or(is_port)
}

/// A host of AWS: `[BUCKET.]s3[.dualstack][.REGION].amazonaws.com`, and the older `s3-REGION`.
struct AwsHost {
    bucket: Option<String>,
    endpoint: String,
    region: Option<String>,
}

impl AwsHost {
    /// `None` for hosts of others.
    fn of(host: &str) -> Result<Option<Self>, &'static str> {
        let domain = AWS_DOMAINS.iter().find(|domain| host.ends_with(**domain));
        let Some(domain) = domain else {
            return Ok(None);
        };
        let labels: Vec<&str> = host[..host.len() - domain.len()].split('.').collect();
        // A bucket's name may have dots and begin with `s3-`: the last one that fits is the service.
        let service = labels
            .iter()
            .rposition(|label| *label == "s3" || label.starts_with("s3-"));
        let service = service.ok_or("its host is one of AWS, and not of S3")?;
        let region = match (labels[service], &labels[service + 1..]) {
            ("s3", []) => None,
            ("s3" | "s3-fips", ["dualstack", region] | [region]) => Some(*region),
            (old, []) => old.strip_prefix("s3-"),
            _ => return Err("its host is none that S3 has"),
        };
        let bucket = labels[..service].join(".");
        Ok(Some(Self {
            bucket: (!bucket.is_empty()).then_some(bucket),
            endpoint: format!("{}{domain}", labels[service..].join(".")),
            region: region.map(str::to_owned),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, variables: &[(&'static str, &str)]) -> Result<S3Bucket, StorageError> {
        S3Bucket::parse_in(url, &Environment::of(variables))
    }

    #[track_caller]
    fn is(url: &str, endpoint: &str, bucket: &str, prefix: &str, region: &str, path_style: bool) {
        let parsed = parse(url, &[]).expect(url);
        let expected = S3Bucket {
            endpoint: endpoint.to_owned(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: region.to_owned(),
            path_style,
        };
        assert_eq!(parsed, expected);
    }

    #[test]
    fn a_custom_endpoint_has_the_bucket_in_its_path() {
        let home = "us-east-1";
        let endpoint = "http://127.0.0.1:9000";
        is("http://127.0.0.1:9000/b", endpoint, "b", "", home, true);
        is("HTTP://127.0.0.1:9000/b/", endpoint, "b", "", home, true);
        is(
            "http://127.0.0.1:9000/b/x/y/",
            endpoint,
            "b",
            "x/y/",
            home,
            true,
        );
        is("https://[::1]/b", "https://[::1]", "b", "", home, true);
        is(
            "http://[::1]:9000/b",
            "http://[::1]:9000",
            "b",
            "",
            home,
            true,
        );
        let other = "https://amazonaws.com.example.org";
        is(&format!("{other}/b"), other, "b", "", home, true);
    }

    #[test]
    fn an_endpoint_of_aws_has_the_bucket_before_or_behind_its_host() {
        let tokyo = "https://s3.ap-northeast-1.amazonaws.com";
        let region = "ap-northeast-1";
        for (url, prefix) in [
            ("https://b.s3.ap-northeast-1.amazonaws.com", ""),
            ("https://B.S3.ap-northeast-1.amazonaws.com/p", "p/"),
            ("https://s3.ap-northeast-1.amazonaws.com/b/p/q", "p/q/"),
        ] {
            is(url, tokyo, "b", prefix, region, false);
        }
        is(
            "https://s3-b.c.s3.eu-west-1.amazonaws.com",
            "https://s3.eu-west-1.amazonaws.com",
            "s3-b.c",
            "",
            "eu-west-1",
            false,
        );
        let global = "https://s3.amazonaws.com";
        is(&format!("{global}/b"), global, "b", "", "us-east-1", false);
        let old = "https://s3-eu-west-1.amazonaws.com";
        is(&format!("{old}/b"), old, "b", "", "eu-west-1", false);
        let dual = "https://s3.dualstack.eu-west-1.amazonaws.com";
        is(&format!("{dual}/b"), dual, "b", "", "eu-west-1", false);
        let china = "https://s3.cn-north-1.amazonaws.com.cn";
        is(&format!("{china}/b"), china, "b", "", "cn-north-1", false);
    }

    #[test]
    fn the_region_is_that_of_the_url_or_of_the_environment() {
        let both = [("AWS_REGION", "eu-1"), ("AWS_DEFAULT_REGION", "eu-2")];
        let later = [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-2")];
        let region = |url: &str, variables| parse(url, variables).expect(url).region;
        assert_eq!(region("http://h/b", &both), "eu-1");
        assert_eq!(region("http://h/b", &later), "eu-2");
        assert_eq!(region("https://s3.amazonaws.com/b", &both), "eu-1");
        let said = "https://s3.us-west-2.amazonaws.com/b";
        assert_eq!(region(said, &both), "us-west-2");
    }

    #[test]
    fn urls_that_name_no_bucket_are_refused_without_telling_a_secret() {
        for url in [
            "",
            "b",
            "/srv/b",
            "s3://b",
            "ftp://h/b",
            "http://",
            "http:///b",
            "http://h",
            "http://h/",
            "http://h//b",
            "http://h/b//p",
            "http://h/b/../c",
            "http://h/.b",
            "http://h/b c",
            "http://h/b%20",
            "http://h/b?x=1",
            "http://h/b#x",
            "http://h:0/b",
            "http://h:x/b",
            "http://h:/b",
            "http://h_x/b",
            "http://[::g]/b",
            "https://s3.eu-west-1.amazonaws.com",
            "https://ec2.eu-west-1.amazonaws.com/b",
            "https://s3.a.b.amazonaws.com/b",
            "http://key:secret@h/b",
        ] {
            let error = parse(url, &[]).expect_err(url);
            assert!(matches!(error, StorageError::BucketUrl(_)), "{url}");
            assert!(!error.to_string().contains("secret@"), "{error}");
        }
    }
}
