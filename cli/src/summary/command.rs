//! Runs `curlew summary`.

use super::args::SummaryArgs;
use super::walk::{Extent, Top, Tree, walk};
use crate::caller::caller;
use crate::exit::{Finding, Usage};
use crate::quota::{LEVEL, no_totals};
use crate::target::{self, MountedFile};
use crate::{output, volume_path};
use anyhow::{Context as _, Result, bail};
use meta_client::{Cluster, MetaUrl};
use meta_core::attr::Caller;
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::query::{Answer, QueryBody};
use std::path::Path;
use std::time::Duration;

/// How long the cluster may take for one request, elections included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(60);

/// Runs the command.
pub(crate) async fn run(args: SummaryArgs) -> Result<Finding> {
    let place = Place::find(&args.at, args.inside.as_deref())?;
    let cluster = Cluster::connect(&place.url.addrs, CLUSTER_LIMIT).await?;
    let volume = cluster.find_volume(&place.url.volume).await?;
    if volume.level.0 < LEVEL {
        return Err(no_totals());
    }
    let tree = Tree {
        cluster,
        volume: volume.id,
        caller: place.caller,
    };
    let top = top(&tree, place.way).await?;
    let extent = Extent {
        depth: args.depth,
        entries: args.entries,
    };
    let mut report = walk(&tree, top, extent).await?;
    report.volume = volume.name;
    for note in &report.notes {
        eprintln!("{note}");
    }
    if args.json {
        output::json(&report)?;
    } else if args.csv {
        output::text_out(&report.csv())?;
    } else {
        output::text_out(&report.render())?;
    }
    Ok(report.troubles.finding())
}

/// What the user named.
#[derive(Debug)]
struct Place {
    url: MetaUrl,
    /// On whose behalf.
    caller: Caller,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// On a mount, as the user named it.
    Mounted { ino: Ino, path: String },
    /// From the volume's root.
    Names(Vec<Name>),
}

impl Place {
    fn find(at: &Path, inside: Option<&Path>) -> Result<Self> {
        if let Some(url) = at.to_str().filter(|text| target::is_meta_url(text)) {
            let inside = inside.unwrap_or(Path::new("/"));
            return Ok(Self {
                url: target::resolve(url)?,
                caller: caller(),
                way: Way::Names(volume_path::names_or_root(inside)?),
            });
        }
        if inside.is_some() {
            return Err(Usage::error(
                "a second path is for a META-URL; give the directory on a mount as it is",
            ));
        }
        let file = MountedFile::find(at)?;
        Ok(Self {
            url: file.mounted.url()?,
            caller: file.mounted.caller()?,
            way: Way::Mounted {
                ino: Ino(file.inode),
                path: at.display().to_string(),
            },
        })
    }
}

async fn top(tree: &Tree, way: Way) -> Result<Top> {
    let (attr, path) = match way {
        Way::Names(names) => {
            let found = volume_path::file(&tree.cluster, tree.volume, &tree.caller, &names);
            (found.await?, volume_path::shown(&names))
        }
        Way::Mounted { ino, path } => match tree.ask(QueryBody::GetAttr { ino }).await {
            Ok(Answer::Attr(attr)) => (attr, path),
            Ok(_) => bail!("the cluster answered another question"),
            Err(error) => return Err(error).with_context(|| format!("cannot look at {path}")),
        },
    };
    Ok(Top {
        ino: attr.ino,
        kind: attr.kind,
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: SummaryArgs,
    }

    const URL: &str = "curlew://127.0.0.1:7101/data";

    fn parsed(words: &[&str]) -> Result<SummaryArgs, clap::Error> {
        let line = ["summary"].iter().chain(words);
        Line::try_parse_from(line).map(|line| line.args)
    }

    fn names(words: &[&str]) -> Result<usize> {
        let args = parsed(words).expect("a line");
        match Place::find(&args.at, args.inside.as_deref())?.way {
            Way::Names(names) => Ok(names.len()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_directory_of_a_volume_is_taken_from_its_root() {
        assert_eq!(names(&[URL]).expect("the root"), 0);
        assert_eq!(names(&[URL, "/"]).expect("the root"), 0);
        assert_eq!(names(&[URL, "/a/b"]).expect("a path"), 2);
        let wrong: [&[&str]; 3] = [&["/tmp", "/a"], &[URL, "/a/.."], &["curlew://nothing"]];
        for case in wrong {
            let error = names(case).expect_err(&case.join(" "));
            assert!(error.is::<Usage>(), "{case:?}: {error}");
        }
    }

    #[test]
    fn a_summary_is_bounded() {
        let args = parsed(&[URL]).expect("a line");
        assert_eq!((args.depth, args.entries), (2, 10));
        let most = parsed(&[URL, "--depth", "10", "--entries", "100", "--csv"]);
        assert!(most.is_ok_and(|args| args.csv));
        let wrong: [&[&str]; 5] = [
            &[],
            &[URL, "--depth", "11"],
            &[URL, "--entries", "0"],
            &[URL, "--entries", "101"],
            &[URL, "--csv", "--json"],
        ];
        for case in wrong {
            let error = parsed(case).expect_err(&case.join(" "));
            assert_eq!(error.exit_code(), 2, "{case:?}");
        }
    }
}
