//! What benchmarks of the engine share: how calls are sampled, and what the way to a server costs
//! when nothing is behind it.

mod echo;
mod figures;
mod processor;
mod synced;

pub use echo::{EchoServer, create_command, echo};
pub use figures::{Figures, Floor, OperationReport, Sample};
pub use processor::cpu_seconds;
pub use synced::fdatasync;
