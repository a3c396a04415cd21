//! `curlew-meta join`, `replace`, `leave` and `members`: changes of a cluster's members, driven from
//! outside step by step. Each step may be asked again, so a command that was interrupted is run
//! again.

use crate::config::NodeConfig;
use anyhow::{Context, Result, bail};
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
/// Nothing more came to the newcomer for so long.
const STANDSTILL: Duration = Duration::from_secs(60);

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

/// Waits until a learner has what there was when it came.
async fn catch_up(cluster: &Cluster, id: u64, say: Say) -> Result<()> {
    let until = Instant::now() + CATCH_UP_LIMIT;
    let (mut goal, mut best, mut moved) = (None, 0, Instant::now());
    while Instant::now() < until {
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
            if matched > best {
                (best, moved) = (matched, Instant::now());
            }
            say(&format!("node {id} has {matched} of {goal} log entries"));
        }
        // While a snapshot is under way no entries come.
        if moved.elapsed() > STANDSTILL && best > 0 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
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
        _ if own.initialised || !own.members.is_empty() => bail!(
            "node {id} at {} has the data of a cluster: replace only a node that has lost them",
            own_addr(config)
        ),
        Some(_) => {
            cluster.remove(id).await?;
        }
        None => {}
    }
    join(config, cluster, say).await
}

/// Takes a node out of its cluster.
///
/// # Errors
/// If the cluster refuses or does not answer; it can be run again.
pub async fn leave(id: u64, cluster: &Cluster, say: Say) -> Result<()> {
    let (_, leader) = cluster.leader().await?;
    if !leader.members.iter().any(|member| member.id == id) {
        say(&format!("node {id} is no member"));
        return Ok(());
    }
    let members = cluster.remove(id).await?;
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
