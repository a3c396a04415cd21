//! Making files, as every benchmark does.

use anyhow::{Context, Result, anyhow, bail};
use meta_client::MetaSession;
use meta_core::attr::Caller;
use meta_core::command::{Create, Existing, NewNode, Operation};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Success;

/// Makes a file of root's that must not be there yet.
pub(crate) async fn create(
    session: &MetaSession,
    parent: Ino,
    text: &str,
    node: NewNode,
) -> Result<Ino> {
    let name = Name::new(text).map_err(|refusal| anyhow!("{text}: {refusal}"))?;
    let create = Create {
        parent,
        name,
        mode: 0o644,
        node,
        masked: 0,
        existing: Existing::Refuse,
    };
    let made = session.execute(Caller::root(), Operation::Create(create));
    match made.await.with_context(|| format!("{text} is not made"))? {
        Success::Entry { attr, .. } => Ok(attr.ino),
        other => bail!("{text}: what was made is {other:?}"),
    }
}
