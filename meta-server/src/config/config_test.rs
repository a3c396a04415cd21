use super::*;

const SMALL: &str = "node_id = 1\nlisten = \"127.0.0.1:7101\"\ndata_dir = \"/d\"\n";

fn error_of(text: &str) -> String {
    NodeConfig::parse(text).expect_err("must be refused")
}

#[test]
fn a_small_file_is_a_single_node_with_the_usual_values() {
    let config = NodeConfig::parse(SMALL).unwrap();
    assert_eq!(
        config.peers,
        BTreeMap::from([(1, "127.0.0.1:7101".to_owned())])
    );
    assert_eq!(config.reserve_bytes, 1 << 30);
    assert_eq!(config.session_ttl, Duration::from_secs(60));
    assert_eq!(config.raft, RaftTimes::default());
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.metrics_listen, None);
}

#[test]
fn a_full_file_is_read() {
    let text = r#"
        node_id = 2
        listen = "127.0.0.1:7102"
        metrics_listen = "127.0.0.1:7202"
        data_dir = "/var/lib/curlew/2"
        insecure_network = false
        reserve_bytes = 4096
        cache_bytes = 16777216
        log_file_bytes = 1048576
        worker_threads = 3
        raise_levels = false
        session_ttl_ms = 5000
        changelog_retain_bytes = 1048576
        [[peers]]
        id = 1
        addr = "127.0.0.1:7101"
        [[peers]]
        id = 2
        addr = "127.0.0.1:7102"
        [raft]
        heartbeat_ms = 50
        election_min_ms = 200
        election_max_ms = 400
        snapshot_entries = 1000
        keep_entries = 10
        lease_reads = true
        [log]
        format = "json"
        level = "debug"
    "#;
    let config = NodeConfig::parse(text).unwrap();
    assert_eq!(config.peers.len(), 2);
    assert_eq!(config.raft.election_max_ms, 400);
    assert!(config.raft.lease_reads);
    assert_eq!(config.cache_bytes, 16 << 20);
    assert_eq!(config.log_file_bytes, 1 << 20);
    assert_eq!(config.worker_threads, 3);
    assert!(!config.raise_levels);
    assert_eq!(
        config.log,
        LogConfig {
            format: LogFormat::Json,
            level: "debug".to_owned()
        }
    );
    assert_eq!(config.metrics_listen.unwrap().port(), 7202);
}

#[test]
fn every_mistake_names_its_field_in_one_line() {
    let cases = [
        ("", "node_id: missing"),
        ("node_id = 0\n", "node_id: must be a number from 1"),
        ("node_id = \"x\"\n", "node_id: must be a number from 1"),
        ("node_id = 1\n", "listen: missing"),
        (
            "node_id = 1\nlisten = \"here\"\n",
            "listen: must be IP:PORT",
        ),
        (
            "node_id = 1\nlisten = 5\n",
            "listen: must be a text in quotes, not 5",
        ),
        (
            "node_id = 1\nlisten = \"127.0.0.1:1\"\n",
            "data_dir: missing",
        ),
        ("node_id 1\n", "line 1: not TOML"),
    ];
    for (text, expected) in cases {
        let error = error_of(text);
        assert!(error.starts_with(expected), "{text:?} gave {error:?}");
        assert!(!error.contains('\n'), "{error:?} has more than one line");
    }
}

#[test]
fn mistakes_behind_the_required_fields_name_theirs_too() {
    let cases = [
        ("colour = 1", "colour: unknown field"),
        (
            "reserve_bytes = -1",
            "reserve_bytes: must be a number from 0",
        ),
        (
            "worker_threads = 0",
            "worker_threads: must be a number from 1",
        ),
        (
            "insecure_network = 1",
            "insecure_network: must be true or false, not 1",
        ),
        (
            "session_ttl_ms = 1",
            "session_ttl_ms: must be a number from 1000",
        ),
        ("data_dri = \"/x\"", "data_dri: unknown field"),
        ("peers = 3", "peers: must be [[peers]] tables"),
        ("[[peers]]\naddr = \"a:1\"", "peers[0].id: missing"),
        ("[[peers]]\nid = 1", "peers[0].addr: missing"),
        (
            "[[peers]]\nid = 1\naddr = \"nowhere\"",
            "peers[0].addr: must be HOST:PORT",
        ),
        (
            "[[peers]]\nid = 1\naddr = \"127.0.0.1:0\"",
            "peers[0].addr: must be HOST:PORT",
        ),
        (
            "[[peers]]\nid = 2\naddr = \"127.0.0.1:7102\"",
            "peers: must include this node (id 1)",
        ),
        (
            "[[peers]]\nid = 1\naddr = \"127.0.0.1:9\"",
            "peers: the entry of this node (id 1) says",
        ),
        (
            "[[peers]]\nid = 1\naddr = \"h:1\"\nport = 2",
            "peers[0].port: unknown field",
        ),
        (
            "[raft]\nheartbeat_ms = 1",
            "raft.heartbeat_ms: must be a number from 10",
        ),
        (
            "[raft]\nelection_min_ms = 150",
            "raft.election_min_ms: 150 must be at least twice",
        ),
        (
            "[raft]\nelection_max_ms = 300",
            "raft.election_max_ms: 300 must be above",
        ),
        ("[raft]\nbeat = 1", "raft.beat: unknown field"),
        (
            "[log]\nformat = \"xml\"",
            "log.format: must be \"text\" or \"json\", not \"xml\"",
        ),
        ("[log]\nlevel = \"loud\"", "log.level: "),
    ];
    for (text, expected) in cases {
        let error = error_of(&format!("{SMALL}{text}\n"));
        assert!(error.starts_with(expected), "{text:?} gave {error:?}");
        assert!(!error.contains('\n'), "{error:?} has more than one line");
    }
}

#[test]
fn leases_need_an_election_time_within_bounds() {
    assert_eq!(
        error_of(&format!("{SMALL}[raft]\nlease_reads = \"yes\"\n")),
        "raft.lease_reads: must be true or false, not \"yes\""
    );
    let short = "heartbeat_ms = 10\nelection_min_ms = 50\n";
    for (lines, wrong) in [("", 12_001), (short, 99)] {
        let text = |ms: u64| format!("{SMALL}[raft]\n{lines}election_max_ms = {ms}\n");
        NodeConfig::parse(&text(wrong)).unwrap();
        let expected = "must be from 100 to 12000 with raft.lease_reads";
        assert_eq!(
            error_of(&format!("{}lease_reads = true\n", text(wrong))),
            format!("raft.election_max_ms: {wrong} {expected}")
        );
    }
    for (lines, right) in [("", 12_000), (short, 100)] {
        let text = format!("{SMALL}[raft]\n{lines}election_max_ms = {right}\n");
        NodeConfig::parse(&format!("{text}lease_reads = true\n")).unwrap();
    }
}

#[test]
fn two_peers_with_one_id_or_one_address_are_refused() {
    let one = "[[peers]]\nid = 1\naddr = \"127.0.0.1:7101\"\n";
    let same_id = format!("{SMALL}{one}[[peers]]\nid = 1\naddr = \"127.0.0.1:7102\"\n");
    assert_eq!(error_of(&same_id), "peers[1].id: two peers have the id 1");
    let same_addr = format!("{SMALL}{one}[[peers]]\nid = 2\naddr = \"127.0.0.1:7101\"\n");
    assert_eq!(
        error_of(&same_addr),
        "peers: two entries have the address 127.0.0.1:7101"
    );
}

#[test]
fn binding_off_loopback_needs_a_word() {
    let open = "node_id = 1\nlisten = \"0.0.0.0:7101\"\ndata_dir = \"/d\"\n";
    let error = error_of(open);
    assert!(
        error.starts_with("listen: 0.0.0.0:7101 is not on loopback"),
        "{error}"
    );
    assert!(error.contains("insecure_network = true"), "{error}");
    NodeConfig::parse(&format!("{open}insecure_network = true\n")).unwrap();

    let metrics = format!("{SMALL}metrics_listen = \"10.0.0.1:9\"\n");
    assert!(error_of(&metrics).starts_with("metrics_listen: 10.0.0.1:9 is not on loopback"));
}

#[test]
fn a_missing_file_is_named() {
    let error = NodeConfig::load(Path::new("/nowhere/node.toml"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("/nowhere/node.toml: "), "{error}");
}
