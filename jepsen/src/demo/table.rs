//! What the demo proved, as a table.

use std::fmt;

/// One thing that had to be proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// What it is about.
    pub what: &'static str,
    /// What was seen.
    pub seen: String,
    /// Whether that proves it.
    pub proved: bool,
}

/// All claims. It holds when every one of them was proved.
#[derive(Clone, Default, Debug)]
pub struct Proof {
    claims: Vec<Claim>,
}

impl Proof {
    /// Adds a claim.
    pub fn claim(&mut self, what: &'static str, proved: bool, seen: String) {
        self.claims.push(Claim { what, seen, proved });
    }

    /// Whether everything was proved.
    pub fn holds(&self) -> bool {
        !self.claims.is_empty() && self.claims.iter().all(|claim| claim.proved)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .claims
            .iter()
            .map(|claim| claim.what.len())
            .max()
            .unwrap_or(0);
        for claim in &self.claims {
            let mark = if claim.proved { "ok    " } else { "FAILED" };
            writeln!(f, "  {mark}  {:width$}  {}", claim.what, claim.seen)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_only_when_every_claim_does() {
        let mut proof = Proof::default();
        assert!(!proof.holds(), "nothing claimed is nothing proved");
        proof.claim("files", true, "5".to_owned());
        assert!(proof.holds());
        proof.claim("digests", false, "two".to_owned());
        assert!(!proof.holds());
        assert!(proof.to_string().contains("FAILED  digests"), "{proof}");
    }
}
