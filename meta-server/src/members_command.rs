//! `curlew-meta join`, `replace`, `leave` and `members`: changes of a cluster's members, driven from
//! outside step by step. Each step may be asked again, so a command that was interrupted is run
//! again.

use crate::config::NodeConfig;
use anyhow::{Context, Result, anyhow, bail};
use meta_client::transport;
use proto::v1;
use proto::v1::admin_client::AdminClient;
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(300);
/// A node that was started comes up in.
const START_LIMIT: Duration = Duration::from_secs(10);
/// An election, or the end of a change that somebody else has begun.
const STEP_LIMIT: Duration = Duration::from_secs(30);
/// A newcomer may have to receive everything first.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Nothing more came to the newcomer for so long, or it was not heard for so long.
const STANDSTILL: Duration = Duration::from_secs(60);
/// Nothing at all came to a newcomer that is heard for so long. Of a snapshot nothing counts before
/// it is there.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(3600);

type Client = AdminClient<Channel>;

/// Takes what there is to tell, line by line.
pub type Say = fn(&str);

/// Addresses of a cluster's nodes.
#[derive(Clone, Debug)]
pub struct Cluster(Vec<String>);

impl std::str::FromStr for Cluster {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let addrs: Vec<String> = text.split(',').map(str::to_owned).collect();
        let is_addr = |addr: &String| {
            addr.rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if addrs.iter().all(is_addr) {
            Ok(Self(addrs))
        } else {
            Err(format!("`{text}` is not HOST:PORT[,HOST:PORT...]"))
        }
    }
}

/// Connects to one node.
///
/// # Errors
/// If it does not answer.
pub async fn connect(addr: &str) -> Result<Client> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT);
    let channel = transport::connect(&endpoint).await;
    let channel = channel.with_context(|| format!("no node answers at {addr}"))?;
    Ok(Client::new(channel))
}

async fn status(addr: &str) -> Result<v1::StatusReply> {
    let status = connect(addr).await?.status(v1::StatusRequest {}).await;
    let status = status.map_err(|status| anyhow::anyhow!("{addr}: {}", status.message()))?;
    Ok(status.into_inner())
}

/// What the node that is to be a member says. It may have been started just now.
async fn own_status(addr: &str) -> Result<v1::StatusReply> {
    let until = Instant::now() + START_LIMIT;
    loop {
        match status(addr).await {
            Err(_not_yet) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
            said => return said.context("start it first"),
        }
    }
}

impl Cluster {
    /// What its leader says, and where it is.
    async fn leader(&self) -> Result<(String, v1::StatusReply)> {
        let mut last = None;
        for addr in &self.0 {
            match status(addr).await {
                Ok(said) if said.leader_id == said.node_id => return Ok((addr.clone(), said)),
                Ok(said) if said.leader_addr.is_empty() => {
                    let none = format!("{addr} knows of no leader");
                    last = Some(anyhow::anyhow!(none));
                }
                Ok(said) => match status(&said.leader_addr).await {
                    Ok(leads) => return Ok((said.leader_addr, leads)),
                    Err(error) => last = Some(error),
                },
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no address was given")))
    }

    /// Asks whoever leads, again while that may help.
    async fn ask(
        &self,
        step: impl AsyncFn(Client) -> Result<Response<v1::MembersReply>, Status>,
    ) -> Result<Vec<v1::Member>> {
        let until = Instant::now() + STEP_LIMIT;
        loop {
            let why = match self.leader().await {
                Ok((addr, _)) => match step(connect(&addr).await?).await {
                    Ok(reply) => return Ok(reply.into_inner().members),
                    Err(status) if status.code() == Code::FailedPrecondition => {
                        bail!("{}", status.message())
                    }
                    Err(status) => anyhow::anyhow!("{addr}: {}", status.message()),
                },
                Err(error) => error,
            };
            if Instant::now() >= until {
                return Err(why);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn remove(&self, id: u64) -> Result<Vec<v1::Member>> {
        let step = async |mut client: Client| client.remove(v1::RemoveRequest { id }).await;
        self.ask(step).await
    }
}

/// Makes the node of a configuration, which runs and has no data, a voter of a cluster.
///
/// # Errors
/// If the cluster refuses or does not answer; it can be run again.
pub async fn join(config: &NodeConfig, cluster: &Cluster, say: Say) -> Result<()> {
    let id = config.node_id;
    let addr = own_addr(config);
    let own = own_status(&addr).await?;
    let add = async |mut client: Client| {
        let (addr, incarnation) = (addr.clone(), own.incarnation);
        let request = v1::AddLearnerRequest {
            id,
            addr,
            incarnation,
        };
        client.add_learner(request).await
    };
    let members = cluster.ask(add).await?;
    if !members.iter().any(|member| member.id == id && member.voter) {
        catch_up(cluster, id, say).await?;
    }
    let promote = async |mut client: Client| client.promote(v1::PromoteRequest { id }).await;
    let members = cluster.ask(promote).await?;
    let voters = members.iter().filter(|member| member.voter).count();
    say(&format!("node {id} is a voter now, one of {voters}"));
    if voters % 2 == 0 {
        say("an even number of voters survives no more failures than one voter less");
    }
    Ok(())
}

/// How a learner gets on.
#[derive(Debug)]
struct Progress {
    /// The most entries that it had.
    best: u64,
    /// When that became more.
    moved: Instant,
    /// When the leader heard it last.
    heard: Instant,
}

impl Progress {
    fn begin(now: Instant) -> Self {
        Self {
            best: 0,
            moved: now,
            heard: now,
        }
    }

    /// Takes in what the leader knows of it.
    fn observe(&mut self, member: &v1::Member, now: Instant) {
        let ago = member.heard_ms.map(Duration::from_millis);
        if let Some(heard) = ago.and_then(|ago| now.checked_sub(ago)) {
            self.heard = self.heard.max(heard);
        }
        let matched = member.matched_index.unwrap_or(0);
        if matched > self.best {
            (self.best, self.moved) = (matched, now);
        }
    }

    /// Whether there is no use in waiting any longer.
    fn stands_still(&self, now: Instant) -> bool {
        let still = now.duration_since(self.moved);
        if self.best > 0 {
            return still > STANDSTILL;
        }
        // While a snapshot is under way no entries come.
        now.duration_since(self.heard) > STANDSTILL || still > SNAPSHOT_LIMIT
    }
}

/// Waits until a learner has what there was when it came.
async fn catch_up(cluster: &Cluster, id: u64, say: Say) -> Result<()> {
    let until = Instant::now() + CATCH_UP_LIMIT;
    let (mut goal, mut told) = (None, None);
    let mut progress = Progress::begin(Instant::now());
    while Instant::now() < until && !progress.stands_still(Instant::now()) {
        // Elections on the way are no reason to give up; a learner that stands still is.
        if let Ok((_, leader)) = cluster.leader().await {
            let goal = *goal.get_or_insert(leader.last_log_index);
            let member = leader.members.iter().find(|member| member.id == id);
            let Some(member) = member else {
                bail!("node {id} was taken out by somebody else");
            };
            let matched = member.matched_index.unwrap_or(0);
            if matched >= goal {
                return Ok(());
            }
            progress.observe(member, Instant::now());
            if told.replace(matched) != Some(matched) {
                say(&format!("node {id} has {matched} of {goal} log entries"));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    if progress.best == 0 {
        bail!(
            "nothing has come to node {id} yet: look in the log of node {id}, which says why, and \
             run this again"
        )
    }
    bail!("node {id} does not catch up: look in its log, and run this again")
}

/// Takes a node whose data are lost out, and the one that runs with its number in.
///
/// # Errors
/// If the node has data, or the cluster refuses or does not answer; it can be run again.
pub async fn replace(config: &NodeConfig, cluster: &Cluster, say: Say) -> Result<()> {
    let id = config.node_id;
    let own = own_status(&own_addr(config)).await?;
    let (_, leader) = cluster.leader().await?;
    let known = leader.members.iter().find(|member| member.id == id);
    match known {
        Some(member) if member.incarnation == own.incarnation => {
            say(&format!("node {id} is a member with the data that it has"));
            if member.voter {
                return Ok(());
            }
        }
        // Whoever has data must not lose them by a slip.
        known if own.initialised || !own.members.is_empty() => {
            return Err(has_data(id, &own_addr(config), known.is_some()));
        }
        Some(_) => {
            cluster.remove(id).await?;
        }
        None => {}
    }
    join(config, cluster, say).await
}

/// What to do with a node that is to be replaced, and has data that no member knows it by.
fn has_data(id: u64, addr: &str, is_member: bool) -> anyhow::Error {
    if is_member {
        return anyhow!(
            "node {id} at {addr} has the data of a cluster: replace only a node that has lost them"
        );
    }
    // Also what is left of a replacement that was interrupted: the node was sent something, and those
    // who sent it have lost that it belongs to them.
    anyhow!(
        "node {id} at {addr} is no member, and has what is left of a cluster's data: stop it, give it \
         an empty data_dir, start it, and run this again"
    )
}

/// Takes a node out of its cluster.
///
/// # Errors
/// If the cluster refuses or does not answer; it can be run again.
pub async fn leave(id: u64, cluster: &Cluster, say: Say) -> Result<()> {
    // For the words alone: a leader that was deposed, and has not heard of it, tells an old list.
    // Who removes makes sure first that it leads, and does nothing if it is done already.
    let told = cluster.leader().await.ok();
    let was_member =
        told.is_none_or(|(_, leader)| leader.members.iter().any(|member| member.id == id));
    let members = cluster.remove(id).await?;
    if !was_member {
        say(&format!("node {id} is no member"));
        return Ok(());
    }
    let left: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
    say(&format!(
        "node {id} is no member any more: stop it and delete its data_dir; left are {}",
        left.join(", ")
    ));
    Ok(())
}

/// Shows who belongs to a cluster.
///
/// # Errors
/// If no leader answers.
pub async fn members(cluster: &Cluster, json: bool) -> Result<()> {
    let (_, leader) = cluster.leader().await?;
    if json {
        let members = leader.members.iter().map(|member| {
            serde_json::json!({
                "id": member.id,
                "addr": member.addr,
                "voter": member.voter,
                "leader": member.id == leader.node_id,
                "matched": member.matched_index,
                "heard_ms": member.heard_ms,
                "incarnation": format!("{:016x}", member.incarnation),
            })
        });
        let members: Vec<_> = members.collect();
        let changing = leader.changing_members;
        println!(
            "{}",
            serde_json::json!({ "members": members, "changing": changing })
        );
        return Ok(());
    }
    for member in &leader.members {
        let role = match (member.id == leader.node_id, member.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        let matched = member.matched_index.unwrap_or(0);
        let heard = member
            .heard_ms
            .map_or("never".to_owned(), |ms| format!("{ms} ms ago"));
        println!(
            "{:>5}  {role:<8} {:<24} has {matched} of {} entries, heard {heard}",
            member.id, member.addr, leader.last_log_index
        );
    }
    if leader.changing_members {
        println!("a change of members was begun and has not ended: run it again");
    }
    Ok(())
}

/// Where a node of this configuration is reached.
pub fn own_addr(config: &NodeConfig) -> String {
    let configured = config.peers.get(&config.node_id).cloned();
    configured.unwrap_or_else(|| config.listen.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use proto::v1::admin_server::{Admin, AdminServer};
    use std::sync::Arc;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::Request;

    fn member(matched: Option<u64>, heard_ms: Option<u64>) -> v1::Member {
        v1::Member {
            matched_index: matched,
            heard_ms,
            ..v1::Member::default()
        }
    }

    #[test]
    fn a_newcomer_that_nobody_hears_is_given_up() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut progress = Progress::begin(begin);
        progress.observe(&member(None, Some(1000)), at(30));
        progress.observe(&member(None, None), at(89));
        assert!(!progress.stands_still(at(89)));
        // It answers no more, however often that is told.
        progress.observe(&member(None, Some(61_000)), at(90));
        assert!(progress.stands_still(at(90)));
    }

    #[test]
    fn a_newcomer_that_is_sent_a_snapshot_is_waited_for_and_not_for_ever() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut progress = Progress::begin(begin);
        for second in (0..=3600).step_by(10) {
            progress.observe(&member(Some(0), Some(5)), at(second));
            assert!(!progress.stands_still(at(second)), "{second}");
        }
        progress.observe(&member(Some(0), Some(5)), at(3601));
        assert!(progress.stands_still(at(3601)));
        // With something there, more has to come.
        progress.observe(&member(Some(7), Some(5)), at(3602));
        assert!(!progress.stands_still(at(3662)));
        progress.observe(&member(Some(7), Some(5)), at(3663));
        assert!(progress.stands_still(at(3663)));
    }

    /// A node that takes itself for the leader and has an old list of members.
    #[derive(Clone, Debug, Default)]
    struct Deposed {
        /// Whom it was asked to take out.
        removed: Arc<Mutex<Vec<u64>>>,
    }

    fn not_asked<T>() -> Result<Response<T>, Status> {
        Err(Status::unimplemented("nobody asks this here"))
    }

    #[tonic::async_trait]
    impl Admin for Deposed {
        async fn init(
            &self,
            _request: Request<v1::InitRequest>,
        ) -> Result<Response<v1::InitReply>, Status> {
            not_asked()
        }

        async fn status(
            &self,
            _request: Request<v1::StatusRequest>,
        ) -> Result<Response<v1::StatusReply>, Status> {
            let only = v1::Member {
                id: 1,
                ..v1::Member::default()
            };
            Ok(Response::new(v1::StatusReply {
                node_id: 1,
                leader_id: 1,
                members: vec![only],
                ..v1::StatusReply::default()
            }))
        }

        async fn transfer_leader(
            &self,
            _request: Request<v1::TransferLeaderRequest>,
        ) -> Result<Response<v1::TransferLeaderReply>, Status> {
            not_asked()
        }

        async fn trigger_snapshot(
            &self,
            _request: Request<v1::TriggerSnapshotRequest>,
        ) -> Result<Response<v1::TriggerSnapshotReply>, Status> {
            not_asked()
        }

        async fn add_learner(
            &self,
            _request: Request<v1::AddLearnerRequest>,
        ) -> Result<Response<v1::MembersReply>, Status> {
            not_asked()
        }

        async fn promote(
            &self,
            _request: Request<v1::PromoteRequest>,
        ) -> Result<Response<v1::MembersReply>, Status> {
            not_asked()
        }

        async fn remove(
            &self,
            request: Request<v1::RemoveRequest>,
        ) -> Result<Response<v1::MembersReply>, Status> {
            self.removed.lock().push(request.into_inner().id);
            Ok(Response::new(v1::MembersReply::default()))
        }
    }

    /// Found by the simulation (seed 1459): a replacement was interrupted by a power cut of all nodes,
    /// which forgot the newcomer, while it kept what it had been sent. The command was refused for
    /// ever, and did not say what to do.
    #[test]
    fn what_is_left_of_a_replacement_is_told_apart_from_data_of_a_member() {
        let left = has_data(5, "n5:1", false).to_string();
        assert!(left.contains("empty data_dir"), "{left}");
        let own = has_data(5, "n5:1", true).to_string();
        assert!(!own.contains("empty data_dir"), "{own}");
    }

    #[tokio::test]
    async fn who_is_no_member_by_an_old_list_is_taken_out_all_the_same() {
        let node = Deposed::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address").to_string();
        let serving = tonic::transport::Server::builder()
            .add_service(AdminServer::new(node.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(serving);
        let cluster: Cluster = addr.parse().expect("an address");
        leave(3, &cluster, |_line| {}).await.expect("taken out");
        assert_eq!(*node.removed.lock(), [3_u64]);
        serving.abort();
    }
}
