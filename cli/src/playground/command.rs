//! `curlew playground`.

use super::args::PlaygroundArgs;
use super::foreground::{self, Signals};
use super::layout::Layout;
use super::plan::Wish;
use super::restart::restart;
use super::start::start;
use super::state::State;
use super::stop::stop;
use crate::exit::Finding;
use crate::output;
use crate::progress::Progress;
use anyhow::{Result, bail};

/// Runs the command.
pub(crate) async fn run(args: PlaygroundArgs) -> Result<Finding> {
    if args.stop {
        return run_stop(&args).await;
    }
    if let Some(id) = args.restart {
        let layout = Layout::find(&args.dir)?;
        let pid = restart(&layout, id, &Progress::new()).await?;
        output::text_out(&format!("node {id} runs as process {pid}\n"))?;
        return Ok(Finding::Fine);
    }
    let layout = Layout::create(&args.dir)?;
    let wish = Wish {
        nodes: args.nodes,
        mirror: args.mirror,
        mirror_nodes: args.mirror_nodes,
        lease_reads: args.lease_reads,
    };
    let mut signals = Signals::listen()?;
    let progress = Progress::new();
    let running = tokio::select! {
        started = start(&layout, wish, &progress) => started?,
        () = signals.any() => {
            // The start was dropped where it stood, and its lock with it.
            stop(&layout, &progress).await?;
            bail!("interrupted; what was started has been ended");
        }
    };
    drop(progress);
    output::text_out(&welcome(&layout, &running.state, args.detach))?;
    if !args.detach {
        foreground::watch(&layout, running, &mut signals).await?;
    }
    Ok(Finding::Fine)
}

async fn run_stop(args: &PlaygroundArgs) -> Result<Finding> {
    // Without its plan there never was a playground: nothing is made just to stop it.
    let layout = match Layout::find(&args.dir) {
        Ok(layout) if layout.plan_file().exists() => layout,
        Ok(_) | Err(_) => {
            output::text_out(&format!(
                "there is no playground in {}\n",
                args.dir.display()
            ))?;
            return Ok(Finding::Fine);
        }
    };
    let was_running = stop(&layout, &Progress::new()).await?;
    let dir = layout.dir().display();
    output::text_out(&if was_running {
        format!("stopped; the data in {dir} stays for the next start\n")
    } else {
        format!("nothing was running in {dir}\n")
    })?;
    Ok(Finding::Fine)
}

fn welcome(layout: &Layout, state: &State, is_detached: bool) -> String {
    let dir = layout.dir().display();
    let side = &state.origin;
    let end = if is_detached {
        format!("curlew playground --dir {dir} --stop")
    } else {
        "Ctrl-C".to_owned()
    };
    let mirror = state.mirror.as_ref().map_or_else(String::new, |mirror| {
        format!(
            "mirror    {} (its nodes are at {})\n  \
             compare   curlew mirror status {}\n  ",
            mirror.mount, mirror.meta_url, side.mount
        )
    });
    format!(
        "The playground is ready.\n  \
         files     {}\n  \
         META-URL  {}\n  \
         nodes     {}\n  \
         {mirror}\
         objects   {}\n  \
         logs      {}\n  \
         look      curlew status {}\n  \
         end       {end}\n",
        side.mount,
        side.meta_url,
        side.nodes.len(),
        state.object_store,
        layout.inside().display(),
        side.mount,
    )
}
