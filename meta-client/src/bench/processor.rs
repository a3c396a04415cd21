//! Processor time of processes.

use std::fs;
use std::io;

/// Linux promises user space this unit on every architecture that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time that a process has used so far, in seconds, all its threads together.
///
/// # Errors
/// When there is no such process, or the system tells it in another form.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
    let text = fs::read_to_string(&path).map_err(named)?;
    // The name, in parentheses, may hold anything: count fields after it.
    let rest = text.rsplit(')').next().unwrap_or_default();
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok());
    match (ticks(), ticks()) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS_PER_SECOND),
        _ => Err(named(io::Error::other("no times in it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn work_takes_processor_time() {
        let before = cpu_seconds(std::process::id()).expect("our own");
        let begin = Instant::now();
        let mut sum = 0_u64;
        // As many ticks as it takes to be seen, however busy the machine is.
        while cpu_seconds(std::process::id()).expect("our own") < before + 0.05 {
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "none was counted"
            );
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
